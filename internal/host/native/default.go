package native

import "essaim/internal/engine"

func newEngine() Stepper { return engine.New() }
