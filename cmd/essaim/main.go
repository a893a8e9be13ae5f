// Command essaim is the whole service in one program: `essaim demo` shows it, `essaim serve` runs it.
//
// This package parses, wires and prints; what it wires knows nothing of it. Exit statuses: 0 for success, 1 for a
// failure, told in one line, 2 for a command line or a settings file that cannot be understood.
package main

import (
	"os"

	"github.com/alecthomas/kong"
)

// cli is the command line; each command is in a file of its own.
type cli struct {
	Config  kong.ConfigFlag  `env:"ESSAIM_CONFIG" placeholder:"FILE" help:"Settings file, read besides ./essaim.yaml; keys are the names of serve's flags."`
	Version kong.VersionFlag `help:"Print the version."`

	Serve    serveCmd    `cmd:"" help:"Run the service."`
	Demo     demoCmd     `cmd:"" help:"Run everything at once on a film of our own, with a room that shows what happens."`
	Ingest   ingestCmd   `cmd:"" help:"Turn a film file into a published title."`
	Watch    watchCmd    `cmd:"" help:"Watch a title from the swarm, into a file, and seed it."`
	Rehearse rehearseCmd `cmd:"" help:"Send silent viewers to a running service, before an audience comes."`
	Edge     edgeCmd     `cmd:"" help:"Run a box near the viewers, which holds titles and no keys."`
	Sim      simCmd      `cmd:"" help:"Play a crowd of viewers under virtual time."`
	Admin    adminCmd    `cmd:"" help:"Manage members and operators' tokens."`
	Bench    struct {
		Hash    benchHashCmd    `cmd:"" help:"How fast torrents are made."`
		Package benchPackageCmd `cmd:"" help:"What taking in a film costs that needs no encoding, and what encryption adds."`
		Engine  benchEngineCmd  `cmd:"" help:"What the engine costs."`
		Seeds   benchSeedsCmd   `cmd:"" hidden:"" help:"The other end of bench engine."`
		Tracker benchTrackerCmd `cmd:"" help:"What the tracker bears."`
		Swarm   benchSwarmCmd   `cmd:"" help:"Measure what a steady swarm costs its tracker, ours and WebTorrent's."`
		Door    benchDoorCmd    `cmd:"" hidden:"" help:"The other end of bench tracker."`
		Node    benchNodeCmd    `cmd:"" help:"What serving costs a native host, over TCP and over WebRTC."`
		Stage   benchStageCmd   `cmd:"" hidden:"" help:"What scripts/pages.mjs measures browsers on."`
		End     benchEndCmd     `cmd:"" hidden:"" help:"Either end of bench node."`
	} `cmd:"" help:"Measure."`
}

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }
