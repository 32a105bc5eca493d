// A gateway inside the page: answers the offer with a peer connection of its own, records what the page says and does
// what the test tells it. Installed before the page's scripts run; `window.gateway` is the test's handle.
(() => {
  const PATIENCE_MS = 30_000;
  const trueFetch = window.fetch.bind(window);
  const waiting = [];
  const gateway = {
    events: [],
    pictures: [],
    requests: [],
    labels: [],
    /** Clips that were brought, and what is said to them. */
    clips: [],
    clipAnswer: { status: 201, id: "voice_1", owner: "call", seconds: 2 },
    /** What the page asked of each channel. */
    wishes: {},
    peer: null,
    channels: {},
    microphone: null,
    session: { id: "sess_1", model: "Double", capabilities: { model: "Double", suggestions: ["Say this"] }, limits: {} },
    /** Resolves with the first event, past or future, that fits. */
    event(type, fields = {}) {
      const fits = (event) => event.type === type && Object.entries(fields).every(([key, value]) => event[key] === value);
      return until(() => gateway.events.find(fits), `${type} ${JSON.stringify(fields)}`);
    },
    until,
    send(event) {
      gateway.channels["oai-events"].send(JSON.stringify(event));
    },
    /** Sends speech of a response: `samples` of a tone, from message `first` on. */
    speak(number, samples, { first = 0, last = true } = {}) {
      for (let start = first * 480; start < samples; start += 480) {
        const count = Math.min(480, samples - start);
        const message = new DataView(new ArrayBuffer(12 + 2 * count));
        message.setUint32(0, number, true);
        message.setUint32(4, start, true);
        message.setUint16(8, last && start + 480 >= samples ? 1 : 0, true);
        message.setUint16(10, count, true);
        for (let i = 0; i < count; i += 1) message.setInt16(12 + 2 * i, 9000 * Math.sin((start + i) / 12), true);
        gateway.channels.audio.send(message.buffer);
      }
    },
    respond(number, text) {
      gateway.send({ type: "response.created", response: { id: `resp_${number}`, status: "in_progress" }, number });
      const ids = { response_id: `resp_${number}`, item_id: `item_${number}` };
      gateway.send({ type: "response.output_audio_transcript.delta", ...ids, delta: text });
      gateway.send({ type: "output_audio_buffer.started", response_id: ids.response_id });
    },
    done(number, status = "completed") {
      gateway.send({ type: "response.done", response: { id: `resp_${number}`, status, output: [] } });
    },
    hangUp() {
      gateway.peer.close();
    },
  };

  // The page's own state changes without a word to the gateway: look again now and then.
  setInterval(news, 20);

  function until(look, what = String(look)) {
    return new Promise((resolve, reject) => {
      const attempt = () => {
        const found = look();
        if (found) resolve(found);
        return Boolean(found);
      };
      if (!attempt()) waiting.push(attempt);
      setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
    });
  }

  function news() {
    for (const attempt of [...waiting]) if (attempt()) waiting.splice(waiting.indexOf(attempt), 1);
  }

  function open(channel) {
    gateway.labels.push(channel.label);
    gateway.channels[channel.label] = channel;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => {
      if (channel.label === "oai-events") gateway.events.push(JSON.parse(data));
      if (channel.label === "camera") gateway.pictures.push(new Uint8Array(data));
      news();
    };
    const greet = () => gateway.send({ type: "session.created", session: gateway.session });
    if (channel.label === "oai-events") channel.readyState === "open" ? greet() : (channel.onopen = greet);
  }

  async function answer(sdp) {
    const peer = new RTCPeerConnection();
    gateway.peer = peer;
    peer.ondatachannel = (event) => open(event.channel);
    peer.ontrack = (event) => (gateway.microphone = event.track);
    await peer.setRemoteDescription({ type: "offer", sdp });
    if (gateway.track) peer.addTrack(gateway.track);
    await peer.setLocalDescription(await peer.createAnswer());
    await new Promise((resolve) => {
      const look = () => peer.iceGatheringState === "complete" && resolve();
      peer.onicegatheringstatechange = look;
      look();
    });
    const headers = { "Content-Type": "application/sdp", Location: "/v1/realtime/calls/call_1", "Call-Secret": "s3cret" };
    return new Response(peer.localDescription.sdp, { status: 201, headers });
  }

  function takeClip(headers, body) {
    gateway.clips.push({ ...headers, name: body.name, size: body.size });
    const { status, ...answer } = gateway.clipAnswer;
    return new Response(JSON.stringify(answer), { status });
  }

  const createDataChannel = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, wishes = {}) {
    gateway.wishes[label] = wishes;
    return createDataChannel.call(this, label, { ...wishes, maxPacketLifeTime: undefined });
  };

  window.fetch = async (resource, options = {}) => {
    const { method = "GET", headers = {}, body } = options;
    if (String(resource) === "/v1/voices" && method === "POST") return takeClip(headers, body);
    if (!String(resource).startsWith("/v1/realtime/calls")) return trueFetch(resource, options);
    gateway.requests.push({ method, path: String(resource), headers: { ...headers } });
    news();
    if (method === "DELETE") return new Response(null, { status: 204 });
    return gateway.refusal ? gateway.refusal() : answer(body);
  };
  window.gateway = gateway;
})();
