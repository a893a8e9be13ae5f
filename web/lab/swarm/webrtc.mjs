/**
 * WebRTC within one process, as far as simple-peer looks: descriptions of the size of Chromium's, candidates gathered at once, and a
 * connection between an offerer and its answerer as soon as the answer is taken. Nothing is ever sent.
 */
const connections = new Map(); // by the ufrag of their description
let made = 0;

function description(ufrag, setup) {
  return (
    "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\n" +
    "a=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
    "a=candidate:842163049 1 udp 1677729535 8.8.8.8 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999\r\n" +
    `a=ice-ufrag:${ufrag}\r\na=ice-pwd:dGvvsXLb+n4hYJ4hvLPPOvBY\r\n` +
    "a=fingerprint:sha-256 C8:30:4D:66:3F:CF:57:C2:8D:5B:C9:1F:2B:53:71:3F:4C:2E:36:54:16:5C:1E:95:9A:6C:6F:2C:A3:1C:AB:6C\r\n" +
    `a=setup:${setup}\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n`
  );
}

class Channel {
  label = "";
  readyState = "connecting";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  constructor(connection) {
    this.connection = connection;
  }
  send() {}
  close() {
    this.connection.close();
  }
}

export class RTCPeerConnection {
  signalingState = "stable";
  iceConnectionState = "new";
  iceGatheringState = "new";
  connectionState = "new";
  localDescription = null;
  remoteDescription = null;

  constructor() {
    this.ufrag = String(++made).padStart(8, "0");
    connections.set(this.ufrag, this);
  }

  createDataChannel(label) {
    this.channel = new Channel(this);
    this.channel.label = label;
    return this.channel;
  }

  async createOffer() {
    return { type: "offer", sdp: description(this.ufrag, "actpass") };
  }

  async createAnswer() {
    return { type: "answer", sdp: description(this.ufrag, "active") };
  }

  async setLocalDescription(description) {
    this.localDescription = description;
    setImmediate(() => {
      if (this.signalingState === "closed") return;
      this.iceGatheringState = "complete";
      this.onicegatheringstatechange?.();
      this.onicecandidate?.({ candidate: null });
    });
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    if (description.type !== "answer") return;
    const other = connections.get(/a=ice-ufrag:(\S+)/.exec(description.sdp)[1]);
    if (!other || other.signalingState === "closed") return;
    this.other = other;
    other.other = this;
    other.channel = new Channel(other);
    setImmediate(() => {
      for (const one of [this, other]) {
        if (one.signalingState === "closed") return;
        one.iceConnectionState = one.connectionState = "connected";
        one.oniceconnectionstatechange?.();
        one.onconnectionstatechange?.();
        if (one === other) other.ondatachannel?.({ channel: other.channel });
        one.channel.readyState = "open";
        one.channel.onopen?.();
      }
    });
  }

  async addIceCandidate() {}

  async getStats() {
    return [
      { type: "candidate-pair", id: "pair", selected: true, localCandidateId: "ours", remoteCandidateId: "theirs" },
    ];
  }

  close() {
    if (this.signalingState === "closed") return;
    this.signalingState = this.iceConnectionState = this.connectionState = "closed";
    connections.delete(this.ufrag);
    if (this.channel) {
      this.channel.readyState = "closed";
      this.channel.onclose?.();
    }
    const other = this.other;
    this.other = undefined;
    other?.close();
  }
}

/** A session description is taken as it comes. */
export class RTCSessionDescription {
  constructor(init) {
    Object.assign(this, init);
  }
}

/** Candidates stand in the descriptions. */
export class RTCIceCandidate {}
