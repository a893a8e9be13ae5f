// The room's frame: one viewer.
import "../app/tokens.css";
