package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// answered are the operations that some test of this package has had answered well, over all servers.
var answered struct {
	sync.Mutex
	ids map[string]bool
	all []string // of a server of a demonstration, which has them all
}

// TestMain ends with a complaint when every test ran and some operation was never seen to answer as the document says.
func TestMain(m *testing.M) {
	answered.ids = map[string]bool{}
	status := m.Run()
	var missing []string
	for _, id := range answered.all {
		if !answered.ids[id] {
			missing = append(missing, id)
		}
	}
	if all := len(answered.ids) > 0 && status == 0 && !filtered(); all && len(missing) > 0 {
		fmt.Println("FAIL: of these operations no test has seen an answer as the OpenAPI document describes it:", strings.Join(missing, ", "))
		status = 1
	}
	os.Exit(status)
}

// filtered reports whether only some tests were asked for.
func filtered() bool {
	return slices.ContainsFunc(os.Args, func(arg string) bool {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		return (name == "test.run" || name == "test.skip") && value != ""
	})
}

// witness holds every answer of the API, in whatever test, against the document that the same server gives out: its status,
// its content type and its body's shape, unknown fields included.
func witness(t *testing.T, s *Server) http.Handler {
	t.Helper()
	type described struct {
		method string
		path   *regexp.Regexp
		op     *huma.Operation
	}
	var known []described
	doc := s.OpenAPI()
	var ids []string
	for path, item := range doc.Paths {
		form := regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`)
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op != nil {
				known = append(known, described{method, regexp.MustCompile("^" + form + "$"), op})
				ids = append(ids, op.OperationID)
			}
		}
	}
	// As http.ServeMux does: the more particular description first.
	slices.SortFunc(known, func(a, b described) int {
		return strings.Count(a.path.String(), "[^/]+") - strings.Count(b.path.String(), "[^/]+")
	})
	slices.Sort(ids)
	answered.Lock()
	if len(ids) > len(answered.all) {
		answered.all = ids
	}
	answered.Unlock()
	var turn sync.Mutex // huma's validation of schemas keeps state
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/api/") && !strings.HasPrefix(r.URL.Path, "/demo/") && !strings.HasPrefix(r.URL.Path, "/hooks/") && !strings.HasSuffix(r.URL.Path, "z") {
			s.ServeHTTP(w, r)
			return
		}
		i := slices.IndexFunc(known, func(d described) bool { return d.method == r.Method && d.path.MatchString(r.URL.Path) })
		if i < 0 { // the document itself, and what there is not
			s.ServeHTTP(w, r)
			return
		}
		seen := &recorder{ResponseWriter: w}
		s.ServeHTTP(seen, r)
		turn.Lock()
		defer turn.Unlock()
		op := known[i].op
		if complaint := compare(doc, op, seen); complaint != "" {
			t.Errorf("%s %s: %s", r.Method, r.URL.Path, complaint)
		} else if seen.status < 300 {
			answered.Lock()
			answered.ids[op.OperationID] = true
			answered.Unlock()
		}
	})
}

// compare says how an answer differs from its description; nothing if it does not.
func compare(doc *huma.OpenAPI, op *huma.Operation, seen *recorder) string {
	described := op.Responses[strconv.Itoa(seen.status)]
	if described == nil && seen.status >= 400 {
		described = op.Responses["default"]
	}
	if described == nil {
		return fmt.Sprintf("status %d is not in the document", seen.status)
	}
	if len(described.Content) == 0 {
		if seen.body.Len() > 0 {
			return fmt.Sprintf("a body of %d bytes is not in the document", seen.body.Len())
		}
		return ""
	}
	kind, _, err := mime.ParseMediaType(seen.Header().Get("Content-Type"))
	media := described.Content[kind]
	if err != nil || media == nil {
		return fmt.Sprintf("content type %q with status %d is not in the document", kind, seen.status)
	}
	if media.Schema == nil || !strings.HasSuffix(kind, "json") {
		return ""
	}
	var value any
	if err := json.Unmarshal(seen.body.Bytes(), &value); err != nil {
		return fmt.Sprintf("no JSON: %v", err)
	}
	var result huma.ValidateResult
	huma.Validate(doc.Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, &result)
	if len(result.Errors) > 0 {
		return fmt.Sprintf("not as described: %v in %s", result.Errors, seen.body.Bytes())
	}
	return ""
}

// recorder passes an answer on and remembers it.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.body.Len() < 1<<20 {
		r.body.Write(p)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func TestOperationsDescribeThemselvesAndNeedAnIdentity(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for path, item := range h.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			if op.Summary == "" || op.OperationID == "" || op.Responses["default"] == nil {
				t.Errorf("%s: %q has no summary, or no form for its errors", path, op.OperationID)
			}
			if strings.Contains(path, "/operator/") && len(op.Security) == 0 {
				t.Errorf("%s: %q is an operator's, and the document asks for nothing", path, op.OperationID)
			}
		}
	}
}
