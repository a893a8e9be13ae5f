package rehearse

import (
	"strings"
	"syscall"
	"testing"
)

func TestCrowdIsBoundedByWhatMayBeOpen(t *testing.T) {
	for _, test := range []struct {
		files     uint64
		addresses int
		want      int
	}{
		{1 << 62, 5, ViewersMax}, {20_000, 5, 155}, {20_000, 2, 356}, {1024, 5, 13}, {1024, 0, 30}, {64, 5, 1}, {0, 5, 1},
	} {
		if got := viewersFor(test.files, test.addresses); got != test.want {
			t.Errorf("%d files, %d addresses: %d viewers, not %d", test.files, test.addresses, got, test.want)
		}
	}
	last := 0
	for files := range uint64(30_000) {
		n := viewersFor(files, 4)
		if n < last {
			t.Fatalf("%d files are enough for %d viewers, and fewer for %d", files, n, last)
		}
		last = n
	}
}

func TestTooLargeACrowdIsRefusedBeforeItComes(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := checkFiles(2); err != nil {
		t.Error(err)
	}
	small := before
	small.Cur = 600
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &small); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	if err := checkFiles(ViewersMax); err == nil || !strings.Contains(err.Error(), "600") {
		t.Error(err)
	}
}
