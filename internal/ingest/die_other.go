//go:build !linux

package ingest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
