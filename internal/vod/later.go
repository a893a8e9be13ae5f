package vod

import "time"

// LaterError is ErrUnavailable with the time to wait: who asks sooner is refused again.
type LaterError struct {
	After time.Duration
}

// Error is a plain sentence without the time, which callers show in their own way.
func (e *LaterError) Error() string { return "too many tries, wait a moment" }

// Unwrap makes a LaterError an ErrUnavailable.
func (e *LaterError) Unwrap() error { return ErrUnavailable }
