package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "essaim"
)

// room is one row of the map.
type room struct {
	folder string   // such as internal/engine
	parts  []string // its sub-folders that the row names
	may    []string // rooms that it may import; nil with all set
	all    bool
	pure   bool
}

var quoted = regexp.MustCompile("`([^`]+)`")

// readMap reads the table of ARCHITECTURE.md whose rows begin with a folder in back-quotes.
func readMap(t *testing.T) []room {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rooms []room
	pure := false
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(cells[0]), "**") {
			pure = strings.Contains(cells[0], "Pure")
		}
		names := quoted.FindAllStringSubmatch(cells[0], -1)
		if len(names) == 0 || !strings.HasPrefix(names[0][1], "internal/") && !strings.HasPrefix(names[0][1], "cmd/") {
			continue
		}
		r := room{folder: names[0][1], pure: pure, all: strings.TrimSpace(cells[2]) == "all"}
		for _, n := range names[1:] {
			r.parts = append(r.parts, n[1])
		}
		for _, n := range quoted.FindAllStringSubmatch(cells[2], -1) {
			r.may = append(r.may, n[1])
		}
		rooms = append(rooms, r)
	}
	if len(rooms) < 10 {
		t.Fatalf("only %d rooms found in ARCHITECTURE.md: has its table changed its form?", len(rooms))
	}
	return rooms
}

// roomOf is the row whose folder holds the package, the longest if there are several.
func roomOf(rooms []room, pkg string) *room {
	var best *room
	for i := range rooms {
		r := &rooms[i]
		if (pkg == r.folder || strings.HasPrefix(pkg, r.folder+"/")) && (best == nil || len(r.folder) > len(best.folder)) {
			best = r
		}
	}
	return best
}

// source is one Go file of the project.
type source struct {
	pkg  string // folder from the root, with slashes
	name string
	file *ast.File
	fset *token.FileSet
}

// sources parses all Go files below cmd, internal and web but tests and test data.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return nil
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, filepath.Dir(p))
			list = append(list, source{filepath.ToSlash(rel), d.Name(), f, fset})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func TestEveryFolderIsOnTheMapAndEveryRowExists(t *testing.T) {
	rooms := readMap(t)
	folders := map[string]bool{}
	for _, s := range sources(t) {
		folders[s.pkg] = true
		r := roomOf(rooms, s.pkg)
		if r == nil {
			t.Errorf("%s is not in ARCHITECTURE.md: add a row that says what it is for and what it may import", s.pkg)
			continue
		}
		if s.pkg == r.folder {
			continue
		}
		part := strings.Split(strings.TrimPrefix(s.pkg, r.folder+"/"), "/")[0]
		if !slices.Contains(r.parts, part) {
			t.Errorf("%s: its part %s is not named in ARCHITECTURE.md", r.folder, part)
		}
	}
	for _, r := range rooms {
		if !folders[r.folder] {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", r.folder)
		}
		for _, p := range r.parts {
			if _, err := os.Stat(filepath.Join(root, r.folder, p)); err != nil {
				t.Errorf("ARCHITECTURE.md names %s in %s, which does not exist", p, r.folder)
			}
		}
	}
}

func TestRoomsImportOnlyWhatTheMapAllows(t *testing.T) {
	rooms := readMap(t)
	for _, s := range sources(t) {
		r := roomOf(rooms, s.pkg)
		if r == nil || r.all {
			continue
		}
		for _, spec := range s.file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			target, ours := strings.CutPrefix(name, module+"/")
			if !ours || target == r.folder || strings.HasPrefix(target, r.folder+"/") && roomOf(rooms, target) == r {
				continue
			}
			allowed := slices.ContainsFunc(r.may, func(may string) bool {
				may = path.Join("internal", may)
				return target == may || strings.HasPrefix(target, may+"/") || target == strings.TrimPrefix(may, "internal/")
			})
			if !allowed {
				t.Errorf("%s/%s imports %s, which the map does not allow %s: ask through an interface of vod, or change the map with a reason",
					s.pkg, s.name, target, r.folder)
			}
		}
	}
}
