// @ts-check
/**
 * Runs before the page's own scripts and makes a call measurable: the microphone is whatever the bench plays, and what
 * goes into it, comes out of the player and comes out of the loopback connection is watched on one clock.
 *
 * `window.__bench`, all times in seconds of the page's AudioContext unless they say otherwise:
 *   context                     the context of the present call
 *   play(samples, rate, after)  speaks into the microphone; resolves with the time of its first sample
 *   watch()                     begins to watch; call it when the page listens
 *   sounds                      [{input, begin, end}] of MICROPHONE, PLAYER and LOOPBACK; `end` null while it lasts
 *   arrivals                    [{number, position, loud, time, wall}] of speech in the player; `wall` is Date.now()
 *   gaps                        lengths (ms) of what the player had to make up
 *   mutes                       [{muted, time}] of the loudspeaker element
 *   events                      [{event, wall}] of the gateway
 *   send(event)                 an event to the gateway
 *   tapSource, noise            given by the bench: bench-tap-worklet.js, and what the room sounds like (48 kHz)
 *   wire()                      {sent, received} bytes of the call's transport with UDP and IP headers
 */

(() => {
  const UDP_AND_IP = 28;

  /** @type {any} */
  const bench = {
    context: null,
    sounds: [],
    arrivals: [],
    gaps: [],
    mutes: [],
    events: [],
    noise: null,
    tapSource: "",
  };
  Object.defineProperty(window, "__bench", { value: bench });

  // ---------------------------------------------------------------------------------------------- the page's audio

  const NativeContext = window.AudioContext;
  window.AudioContext = class extends NativeContext {
    /** @param {AudioContextOptions} [options] */
    constructor(options) {
      super(options);
      bench.context = this;
      bench.microphone = new GainNode(this);
      bench.player = null;
    }
  };

  const NativeWorkletNode = window.AudioWorkletNode;
  window.AudioWorkletNode = class extends NativeWorkletNode {
    /** @param {BaseAudioContext} context @param {string} name @param {AudioWorkletNodeOptions} [options] */
    constructor(context, name, options) {
      super(context, name, options);
      if (name === "player") bench.player = this;
    }
  };

  const addModule = AudioWorklet.prototype.addModule;
  /** The watching module goes first: it must be there when the player registers itself. */
  AudioWorklet.prototype.addModule = async function (url, options) {
    // It comes as text, with the page's address for what it imports: a worklet's own requests cannot be answered here.
    const source = bench.tapSource.replace("./concealment.js", new URL("./concealment.js", url).href);
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    await addModule.call(this, address);
    return addModule.call(this, url, options);
  };

  const muted = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "muted"));
  Object.defineProperty(HTMLMediaElement.prototype, "muted", {
    ...muted,
    set(value) {
      bench.mutes.push({ muted: value, time: bench.context?.currentTime ?? 0 });
      muted.set?.call(this, value);
    },
  });

  // ---------------------------------------------------------------------------------------------- the microphone

  navigator.mediaDevices.getUserMedia = async (wanted) => {
    if (wanted?.video) throw new DOMException("the bench has no camera", "NotFoundError");
    const context = /** @type {AudioContext} */ (bench.context);
    const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    bench.microphone.connect(destination);
    if (bench.noise) loop(context, bench.noise, bench.microphone);
    return destination.stream;
  };

  /** @param {AudioContext} context @param {number[]} samples at 48 kHz @param {AudioNode} output */
  function loop(context, samples, output) {
    const source = new AudioBufferSourceNode(context, { buffer: toBuffer(context, samples, 48_000), loop: true });
    source.connect(output);
    source.start();
  }

  /** @param {AudioContext} context @param {number[]} samples @param {number} rate */
  function toBuffer(context, samples, rate) {
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate, numberOfChannels: 1 });
    buffer.copyToChannel(Float32Array.from(samples), 0);
    return buffer;
  }

  bench.play = (/** @type {number[]} */ samples, /** @type {number} */ rate, /** @type {number} */ after) => {
    const context = /** @type {AudioContext} */ (bench.context);
    const source = new AudioBufferSourceNode(context, { buffer: toBuffer(context, samples, rate) });
    source.connect(bench.microphone);
    if (bench.tap) source.connect(bench.tap, 0, 0);
    const at = context.currentTime + after;
    source.start(at);
    return at;
  };

  // ---------------------------------------------------------------------------------------------- what is watched

  bench.watch = () => {
    const context = /** @type {AudioContext} */ (bench.context);
    const tap = new NativeWorkletNode(context, "bench-tap", { numberOfInputs: 3, outputChannelCount: [1] });
    tap.port.onmessage = (event) => bench[event.data.list].push(event.data.entry);
    bench.player?.connect(tap, 0, 1);
    const stream = /** @type {any} */ (window).__call.loopbackStream;
    if (stream) new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(tap, 0, 2);
    tap.connect(context.destination);
    bench.tap = tap;
  };

  // ---------------------------------------------------------------------------------------------- the connection

  const createDataChannel = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, options) {
    const channel = createDataChannel.call(this, label, options);
    if (label !== "oai-events") return channel;
    bench.peer = this;
    bench.send = (/** @type {object} */ event) => channel.send(JSON.stringify(event));
    channel.addEventListener("message", (message) => {
      bench.events.push({ event: JSON.parse(message.data), wall: Date.now() });
    });
    return channel;
  };

  bench.wire = async () => {
    const report = await bench.peer.getStats();
    for (const stats of report.values()) {
      if (stats.type !== "transport") continue;
      return {
        sent: stats.bytesSent + UDP_AND_IP * stats.packetsSent,
        received: stats.bytesReceived + UDP_AND_IP * stats.packetsReceived,
      };
    }
    throw new Error("the peer connection has no transport");
  };
})();
