package arch

import (
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// outside is what a pure room may not import: clocks, I/O, global randomness, sharing between goroutines.
var outside = []string{
	"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal",
	"runtime", "sync", "sync/atomic", "syscall", "syscall/js", "testing", "time", "unsafe",
}

// spared are the packages of pure rooms that do their work with hands, each with its reason.
var spared = map[string]string{
	"internal/bt/metainfo": "reads and hashes films with all cores; its parser alone is linked where purity matters",
}

// floats are spared the codecs that must read other people's JSON numbers.
var spareFloats = map[string]string{
	"internal/bt/announce": "JSON knows no other numbers",
}

func TestPureRoomsHaveNoHands(t *testing.T) {
	rooms := readMap(t)
	var pure []string
	for _, s := range sources(t) {
		r := roomOf(rooms, s.pkg)
		if r == nil || !r.pure || spared[s.pkg] != "" {
			continue
		}
		for _, spec := range s.file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if slices.Contains(outside, name) {
				t.Errorf("%s/%s imports %s: a pure room takes time, seeds and bytes as arguments", s.pkg, s.name, name)
			}
		}
		if !slices.Contains(pure, s.pkg) {
			pure = append(pure, s.pkg)
		}
	}
	if !slices.Contains(pure, "internal/engine") {
		t.Fatal("the engine is not among the pure rooms of ARCHITECTURE.md")
	}
	exported := exports(t, pure)
	for _, pkg := range pure {
		t.Run(strings.ReplaceAll(pkg, "/", "."), func(t *testing.T) { checkPure(t, pkg, exported) })
	}
}

// exports finds the compiler's export data of everything that the packages import.
func exports(t *testing.T, pkgs []string) importer.Lookup {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for _, pkg := range pkgs {
		args = append(args, "./"+pkg)
	}
	list := exec.Command("go", args...)
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[name] = file
	}
	return func(name string) (io.ReadCloser, error) { return os.Open(files[name]) }
}

// checkPure type-checks a package and looks for what makes a run unrepeatable.
func checkPure(t *testing.T, pkg string, exported importer.Lookup) {
	fset := token.NewFileSet()
	here, err := build.ImportDir(filepath.Join(root, pkg), 0)
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range here.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(root, pkg, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", exported), Error: func(error) {}}
	if _, err := conf.Check(module+"/"+pkg, fset, files, info); err != nil {
		t.Fatalf("type-check %s: %v", pkg, err)
	}
	complain := func(n ast.Node, what string) {
		t.Errorf("%s: %s has no place in a pure room", fset.Position(n.Pos()), what)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				complain(n, "a goroutine")
			case *ast.SelectStmt:
				complain(n, "select")
			case *ast.ChanType:
				complain(n, "a channel")
			case *ast.RangeStmt:
				if tv, ok := info.Types[n.X]; ok {
					if _, isMap := tv.Type.Underlying().(*types.Map); isMap {
						complain(n, "ranging over a map")
					}
				}
			}
			if e, ok := n.(ast.Expr); ok && spareFloats[pkg] == "" {
				if b, isBasic := basic(info.Types[e]); isBasic && b.Info()&types.IsFloat != 0 {
					complain(n, "floating point")
				}
			}
			return true
		})
	}
}

func basic(tv types.TypeAndValue) (*types.Basic, bool) {
	if tv.Type == nil {
		return nil, false
	}
	b, ok := tv.Type.Underlying().(*types.Basic)
	return b, ok
}
