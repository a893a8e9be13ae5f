package hosttest

import (
	"path"
	"testing"
)

func TestEveryScriptParsesAndMakesAClaim(t *testing.T) {
	files, err := scripts.ReadDir("scripts")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := scripts.ReadFile(path.Join("scripts", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := parse(b); err != nil || s.Claim == "" {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}
