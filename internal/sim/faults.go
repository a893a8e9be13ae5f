package sim

// claim has a claimer say to everyone that it fetches what comes next. It never does.
func (s *seat) claim() {}
