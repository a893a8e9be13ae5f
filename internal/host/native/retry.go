package native

import "time"

// The waits before a lost tracker is tried again.
const (
	retryLeast = time.Second      // nobody comes back sooner: a tracker that was restarted needs a moment
	retryFirst = 15 * time.Second // the longest first wait
	// retryDoubled is how often both double: to 8 s and 2 min.
	retryDoubled = 3
)

// TrackerRetry is how long to wait before try number n, from 0 on, since the tracker last answered: uniformly from 1 to 15 s, and
// both bounds double up to 8 s and 2 min. So a crowd that lost its tracker at one moment comes back spread over fourteen seconds,
// presses ever less on one that stays away, and nobody who tried once too early waits for minutes. draw returns a number from 0
// to below its argument, by chance.
func TrackerRetry(n int, draw func(below int64) int64) time.Duration {
	n = max(0, min(n, retryDoubled))
	least, most := retryLeast<<n, retryFirst<<n
	return least + time.Duration(draw(int64(most-least)+1))
}
