// Command gen writes web/src/host/kinds.gen.ts: the numbers of the engine's inputs, outputs, notes, reasons and flags,
// and the sizes of the record's heads, as TypeScript. They are read from internal/engine/step.go itself, so that
// the two halves of the browser's host cannot drift apart; a test fails when the file is stale.
//
// Run from the module's root: go run ./internal/host/browser/gen
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"essaim/internal/engine/record"
)

// Where the words come from and where they go, relative to the module's root.
const (
	source = "internal/engine/step.go"
	target = "web/src/host/kinds.gen.ts"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	ts, err := generate(root)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, target), ts, 0o644); err != nil {
		return fmt.Errorf("write the TypeScript: %w", err)
	}
	return nil
}

// word is one named constant.
type word struct {
	name  string
	value uint64
}

// generate returns the TypeScript for the module at root.
func generate(root string) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, filepath.Join(root, source), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", source, err)
	}
	// Constants need no imports; the types that do are left unresolved.
	conf := types.Config{Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check("engine", fset, []*ast.File{file}, nil)

	byType := map[string][]word{}
	for _, name := range pkg.Scope().Names() {
		c, ok := pkg.Scope().Lookup(name).(*types.Const)
		if !ok || !c.Exported() {
			continue
		}
		v, exact := constant.Uint64Val(c.Val())
		named, isNamed := c.Type().(*types.Named)
		if !exact || !isNamed {
			continue
		}
		kind := named.Obj().Name()
		byType[kind] = append(byType[kind], word{name, v})
	}

	var b bytes.Buffer
	b.WriteString("// Written by internal/host/browser/gen from internal/engine/step.go. Do not edit.\n")
	for _, k := range []struct{ kind, strip, doc string }{
		{"InputKind", "", "What happened: the kinds of engine inputs."},
		{"OutputKind", "", "What the host must do: the kinds of engine outputs."},
		{"NoteKind", "Note", "What a Note output tells."},
		{"Reason", "Reason", "Why something ended."},
		{"Flags", "Flag", "Qualifiers of an input or an output; they are or-ed."},
	} {
		words := byType[k.kind]
		if len(words) == 0 {
			return nil, fmt.Errorf("%s declares no %s", source, k.kind)
		}
		sort.Slice(words, func(i, j int) bool { return words[i].value < words[j].value })
		fmt.Fprintf(&b, "\n/** %s */\nexport const %s = {\n", k.doc, k.kind)
		for _, w := range words {
			fmt.Fprintf(&b, "  %s: %d,\n", strings.TrimPrefix(w.name, k.strip), w.value)
		}
		b.WriteString("} as const;\n")
	}
	fmt.Fprintf(&b, "\n/** The record's head before an input's data, in bytes. */\nexport const inputHead = %d;\n", record.InputHead)
	fmt.Fprintf(&b, "/** The record's head before an output's data, in bytes. */\nexport const outputHead = %d;\n", record.OutputHead)
	fmt.Fprintf(&b, "/** The largest record, in bytes. */\nexport const sizeMax = %d;\n", record.SizeMax)
	return b.Bytes(), nil
}
