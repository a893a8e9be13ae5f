package native

import "essaim/internal/engine"

// newEngine is what decides where Config names nothing else.
func newEngine() Stepper { return engine.New() }
