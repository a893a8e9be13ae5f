// Package arch holds the code against its map: ARCHITECTURE.md says which room may import which, and which rooms are
// pure. It contains nothing but tests, which must fail with a sentence that says what to do.
package arch
