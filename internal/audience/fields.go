package audience

import (
	"encoding/json"
	"fmt"
)

// Field is one name and its value in a report's JSON object. Value is a number, a string, a boolean, a slice of those, or
// []Field for an object within the object.
type Field struct {
	Name  string
	Value any
}

// Fields are the figures in the order in which they are reported; those not measured are absent.
func (f Figures) Fields() []Field {
	out := []Field{
		{"viewers", f.Viewers},
		{"origin_copies", f.OriginCopies},
	}
	if f.OriginCopiesAfter20 != nil {
		out = append(out, Field{"origin_copies_after_20s", *f.OriginCopiesAfter20})
	}
	out = append(out, Field{"duplicate_seconds", f.DuplicateSeconds}, Field{"offload", f.Offload})
	if f.OffloadBound != nil {
		out = append(out, Field{"offload_bound", *f.OffloadBound})
	}
	return append(
		out,
		Field{"startup_p50_s", f.StartupP50S},
		Field{"startup_p95_s", f.StartupP95S},
		Field{"never_started", f.NeverStarted},
		Field{"stalls_per_viewer", f.StallsPerViewer},
		Field{"stall_ratio", f.StallRatio},
		Field{"waste_ratio", f.WasteRatio},
		Field{"bad_bytes_delivered", f.BadBytesDelivered},
		Field{"uploaded_gb_p50", f.UploadedGBP50},
		Field{"uploaded_gb_p99", f.UploadedGBP99},
		Field{"origin_bytes", f.OriginBytes},
		Field{"peer_bytes", f.PeerBytes},
	)
}

// AppendJSON appends fields to to as one JSON object on one line without a newline, in their order: the same fields always
// give the same bytes. A name that occurs twice, and a number that JSON cannot write, are errors.
func AppendJSON(to []byte, fields []Field) ([]byte, error) {
	seen := make(map[string]bool, len(fields))
	to = append(to, '{')
	for i, f := range fields {
		if seen[f.Name] {
			return nil, fmt.Errorf("report: the field %s is there twice", f.Name)
		}
		seen[f.Name] = true
		if i > 0 {
			to = append(to, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		to = append(append(to, name...), ':')
		if object, ok := f.Value.([]Field); ok {
			if to, err = AppendJSON(to, object); err != nil {
				return nil, err
			}
			continue
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, fmt.Errorf("report: field %s: %w", f.Name, err)
		}
		to = append(to, value...)
	}
	return append(to, '}'), nil
}
