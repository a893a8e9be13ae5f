package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// counting stands between a tracker and its clients, whoever they are, and counts what passes. Its own processor time is nobody's.
type counting struct {
	listener net.Listener
	bytes    atomic.Int64 // both ways
	offers   atomic.Int64 // relayed
	answers  atomic.Int64
	conns    sync.Map // net.Conn of both sides
}

func countingProxy(to string) (*counting, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counting{listener: ln}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			tracker, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			c.conns.Store(client, nil)
			c.conns.Store(tracker, nil)
			go c.carry(tracker, client, io.Discard)
			read, write := io.Pipe()
			go func() { _ = read.CloseWithError(c.count(read)) }()
			go func() {
				c.carry(client, tracker, write)
				_ = write.Close()
			}()
		}
	}()
	return c, nil
}

func (c *counting) addr() string { return c.listener.Addr().String() }

func (c *counting) close() {
	_ = c.listener.Close()
	c.conns.Range(func(conn, _ any) bool {
		_ = conn.(net.Conn).Close()
		return true
	})
}

// carry takes bytes one way, and shows them to also, until either end has ended.
func (c *counting) carry(to, from net.Conn, also io.Writer) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(io.MultiWriter(to, also, (*adder)(&c.bytes)), from)
}

// adder counts what is written to it.
type adder atomic.Int64

func (a *adder) Write(b []byte) (int, error) {
	(*atomic.Int64)(a).Add(int64(len(b)))
	return len(b), nil
}

// count takes apart what a tracker says, behind its handshake.
func (c *counting) count(from io.Reader) error {
	r := bufio.NewReader(from)
	for { // the answer to the handshake ends with an empty line
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	var message []byte
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int(head[1])
		switch n {
		case 126:
			var long [2]byte
			if _, err := io.ReadFull(r, long[:]); err != nil {
				return err
			}
			n = int(binary.BigEndian.Uint16(long[:]))
		case 127:
			return errors.New("a tracker's message of more than 64 KiB")
		}
		message = append(message[:0], make([]byte, n)...)
		if _, err := io.ReadFull(r, message); err != nil {
			return err
		}
		switch {
		case bytes.Contains(message, []byte(`"answer":{`)):
			c.answers.Add(1)
		case bytes.Contains(message, []byte(`"offer":{`)):
			c.offers.Add(1)
		}
	}
}
