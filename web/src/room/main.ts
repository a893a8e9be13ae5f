// The room's entry.
import { mount } from "svelte";
import "../app/tokens.css";
import "./room.css";
import RoomPage from "./RoomPage.svelte";

mount(RoomPage, { target: document.getElementById("room")! });
