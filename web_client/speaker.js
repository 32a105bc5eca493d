// @ts-check
/**
 * Where the assistant's speech comes out: an `<audio>` element, reached through a loopback connection (see loopback.js),
 * by an Opus track of the call, or directly by Web Audio when nothing else works.
 *
 * Event `blocked`: the browser holds the sound back until a gesture (autoplay rules, an iOS interruption);
 * `unblocked`: it plays again.
 */

import { Loopback } from "./loopback.js";

const LOOPBACK_TIMEOUT_MS = 2000;

/** Assumed delay of the loopback connection until the first one is measured, in seconds. */
const LOOPBACK_DELAY = 0.07;
const MEASURED = 5;

/** How long stale sound may still be on its way beyond the measured delay, in seconds. */
const MARGIN = 0.03;

export class Speaker extends EventTarget {
  /** @type {Loopback | null} */
  #loopback = null;
  /** @type {AudioWorkletNode | null} */
  #onset = null;
  /** @type {number[]} */
  #delays = [];
  #flushedAt = -Infinity;
  #unmuteTimer = 0;

  /**
   * Call this inside the click: browsers let sound begin only there.
   * @param {HTMLAudioElement} element
   */
  constructor(element) {
    super();
    this.element = element;
    this.context = newContext();
    /** Connect what shall be heard here. */
    this.input = this.context.createGain();
    this.element.srcObject = new MediaStream();
    this.element.muted = false;
    this.wake();
    this.context.onstatechange = () => this.#look();
  }

  /** Starts or restarts the sound; works inside a gesture, and outside of one where the browser allows it. */
  wake() {
    this.context.resume().catch(() => undefined);
    void this.#play();
  }

  /** Sends the sound through a loopback connection. Raises `LoopbackError`, or what Web Audio raises. */
  async connectLoopback() {
    const destination = this.context.createMediaStreamDestination();
    destination.channelCount = 1;
    this.input.connect(destination);
    this.#loopback = await Loopback.open(destination.stream, LOOPBACK_TIMEOUT_MS);
    this.#loopback.receiver.addEventListener("connectionstatechange", () => this.#loopbackChanged());
    this.playStream(this.#loopback.stream);
    // Without the measurement the usual delay is assumed.
    this.#measure(this.#loopback.stream).catch(() => undefined);
  }

  /** Plays a stream: the far end of the loopback connection, or the call's own track. @param {MediaStream} stream */
  playStream(stream) {
    this.element.srcObject = stream;
    void this.#play();
  }

  /** A stream that replaces another one aborts its `play`; only a refusal means that a gesture is needed. */
  async #play() {
    try {
      await this.element.play();
      if (this.context.state === "running") this.dispatchEvent(new Event("unblocked"));
    } catch (error) {
      const refused = error instanceof DOMException && error.name === "NotAllowedError";
      if (refused) this.dispatchEvent(new Event("blocked"));
    }
  }

  /** Sends the sound out directly; the echo canceller may not know it. */
  connectDirectly() {
    this.#loopback?.close();
    this.#loopback = null;
    this.input.disconnect();
    this.input.connect(this.context.destination);
  }

  /** The stream behind the loopback connection. */
  get loopbackStream() {
    return this.#loopback?.stream ?? null;
  }

  /** Seconds from `input` to the ear. */
  get delay() {
    const output = this.context.outputLatency || this.context.baseLatency || 0;
    return output + (this.#loopback ? this.loopbackDelay : 0);
  }

  /** Seconds that the loopback connection takes: the median of the last measurements. */
  get loopbackDelay() {
    if (this.#delays.length === 0) return LOOPBACK_DELAY;
    return [...this.#delays].sort((a, b) => a - b)[this.#delays.length >> 1];
  }

  /** Silence at once, also for what is on its way already. */
  mute() {
    clearTimeout(this.#unmuteTimer);
    this.#flushedAt = this.context.currentTime;
    this.element.muted = true;
  }

  /** The next response gives out its first sample: sound again, once nothing stale can come any more. */
  unmute() {
    if (!this.element.muted) return;
    clearTimeout(this.#unmuteTimer);
    const stale = this.#loopback ? this.loopbackDelay + MARGIN : 0;
    const wait = this.#flushedAt + stale - this.context.currentTime;
    if (wait <= 0) this.element.muted = false;
    else this.#unmuteTimer = window.setTimeout(() => (this.element.muted = false), wait * 1000);
  }

  /** Whether the person can choose among loudspeakers here. */
  static get selectable() {
    return "setSinkId" in HTMLMediaElement.prototype;
  }

  /** Plays on another loudspeaker. @param {string} deviceId */
  async select(deviceId) {
    if (!Speaker.selectable) return;
    await /** @type {any} */ (this.element).setSinkId(deviceId);
    if (!this.#loopback && "setSinkId" in this.context) await /** @type {any} */ (this.context).setSinkId(deviceId);
  }

  async close() {
    clearTimeout(this.#unmuteTimer);
    this.context.onstatechange = null;
    this.#onset?.port.postMessage({ type: "stop" });
    this.#loopback?.close();
    this.element.srcObject = null;
    this.element.muted = false;
    await this.context.close();
  }

  /** A state beyond the specification, `interrupted`, is what iOS says during a phone call. */
  #look() {
    const running = this.context.state === "running";
    this.dispatchEvent(new Event(running ? "unblocked" : "blocked"));
    if (!running) this.wake();
  }

  #loopbackChanged() {
    if (this.#loopback?.receiver.connectionState === "failed") this.connectDirectly();
  }

  /** @param {MediaStream} stream */
  async #measure(stream) {
    await this.context.audioWorklet.addModule(new URL("./onset-worklet.js", import.meta.url));
    const onset = new AudioWorkletNode(this.context, "onset", { numberOfInputs: 2, outputChannelCount: [1] });
    this.input.connect(onset, 0, 0);
    this.context.createMediaStreamSource(stream).connect(onset, 0, 1);
    onset.connect(this.context.destination);
    onset.port.onmessage = (event) => {
      this.#delays.push(event.data.seconds);
      if (this.#delays.length > MEASURED) this.#delays.shift();
    };
    this.#onset = onset;
  }
}

/** 48 kHz is what WebRTC runs at; a browser that refuses the rate takes its own. */
function newContext() {
  try {
    return new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
  } catch {
    return new AudioContext({ latencyHint: "interactive" });
  }
}
