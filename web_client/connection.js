// @ts-check
/**
 * The peer connection of one call and its channels.
 *
 * Events: `queued` (a place in line), `event` (one of the gateway), `speech` (a `SpeechMessage`), `stream` (the Opus
 * track of the assistant, with `?audio=track`), `lost` with the `Problem` that ended it; `lost` comes at most once.
 */

import { decodeSpeech } from "./messages.js";
import { CallProblem, problem } from "./problems.js";
import { VoiceRefused, hangUp, offerCall, sendVoice } from "./signalling.js";

const GATHERING_MS = 300;
const CONNECT_MS = 10_000;
const SILENCE_MS = 5_000;
const LOOK_EVERY_MS = 500;

/** @typedef {"channel" | "track"} SpeechPath how the assistant's speech comes */

export class Connection extends EventTarget {
  /** @type {import("./signalling.js").Answer | null} */
  #answer = null;
  #over = false;
  #abort = new AbortController();
  #heardAt = Infinity;
  #watch = 0;
  /** @type {RTCDataChannel | null} */
  #audio = null;
  /** Messages of the gateway that could not be read; nothing came of them. */
  malformed = 0;

  /** @param {RTCIceServer[]} iceServers @param {SpeechPath} speech */
  constructor(iceServers, speech) {
    super();
    this.peer = new RTCPeerConnection({ iceServers });
    this.events = this.peer.createDataChannel("oai-events");
    this.camera = this.peer.createDataChannel("camera");
    this.camera.binaryType = "arraybuffer";
    if (speech === "channel") this.#openSpeechChannel();
    this.transceiver = this.peer.addTransceiver("audio", { direction: speech === "track" ? "sendrecv" : "sendonly" });
    this.peer.ontrack = (event) => this.#emit("stream", new MediaStream([event.track]));
    this.peer.onconnectionstatechange = () => this.#connectionChanged();
    this.events.onmessage = (message) => this.#receive(message.data);
    this.events.onclose = () => this.#lose(problem("ended"));
  }

  /**
   * Places the call; resolves with the session when the gateway has said `session.created`. Raises `CallProblem`, or
   * `AbortError` after `close`.
   * @param {MediaStreamTrack} microphone
   * @returns {Promise<Record<string, any>>}
   */
  async place(microphone) {
    await this.transceiver.sender.replaceTrack(microphone);
    const sdp = await this.#offer();
    const created = this.#created();
    created.catch(() => undefined);
    this.#answer = await offerCall(sdp, this.#abort.signal, (queued) => this.#emit("queued", queued));
    if (this.#over) this.#hangUp();
    this.#abort.signal.throwIfAborted();
    await this.peer.setRemoteDescription({ type: "answer", sdp: this.#answer.sdp });
    return within(created, CONNECT_MS);
  }

  /** Sends an event; one that cannot be sent any more is dropped. @param {{type: string, [field: string]: any}} event */
  send(event) {
    if (this.events.readyState === "open") this.events.send(JSON.stringify(event));
  }

  /** @param {MediaStreamTrack} track */
  async replaceMicrophone(track) {
    await this.transceiver.sender.replaceTrack(track);
  }

  /** Brings a clip of a voice; resolves with its name. Raises `VoiceRefused`. @param {Blob} clip @returns {Promise<string>} */
  async bringVoice(clip) {
    if (this.#answer === null) throw new VoiceRefused("There is no call to bring it to.");
    return sendVoice(clip, this.#answer.secret);
  }

  /** Hangs up, or leaves the line. */
  close() {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#watch);
    this.#abort.abort();
    this.#hangUp();
    this.peer.close();
  }

  #hangUp() {
    if (this.#answer) void hangUp(this.#answer.location, this.#answer.secret);
    this.#answer = null;
  }

  #openSpeechChannel() {
    this.#audio = this.peer.createDataChannel("audio", { ordered: false, maxPacketLifeTime: 250 });
    this.#audio.binaryType = "arraybuffer";
    this.#audio.onmessage = (message) => this.#receiveSpeech(message.data);
  }

  async #offer() {
    await this.peer.setLocalDescription(await this.peer.createOffer());
    await gathered(this.peer);
    return /** @type {RTCSessionDescription} */ (this.peer.localDescription).sdp;
  }

  /** @returns {Promise<Record<string, any>>} */
  #created() {
    return new Promise((resolve, reject) => {
      this.addEventListener("event", (/** @type {any} */ event) => {
        if (event.detail.type !== "session.created") return;
        this.#watch = window.setInterval(() => this.#look(), LOOK_EVERY_MS);
        resolve(event.detail.session);
      });
      this.addEventListener("lost", (/** @type {any} */ event) => reject(new CallProblem(event.detail)));
    });
  }

  /** @param {unknown} data */
  #receive(data) {
    const event = parse(data);
    if (event === null) {
      this.malformed += 1;
      return;
    }
    if (event.type === "ping" || this.#heardAt < Infinity) this.#heardAt = performance.now();
    this.#emit("event", event);
  }

  /** @param {ArrayBuffer} data */
  #receiveSpeech(data) {
    try {
      this.#emit("speech", decodeSpeech(data));
    } catch {
      this.malformed += 1;
    }
  }

  /** The gateway says something at least every few seconds once it has begun to ping. */
  #look() {
    if (performance.now() - this.#heardAt > SILENCE_MS) this.#lose(problem("connection_lost"));
  }

  #connectionChanged() {
    if (this.peer.connectionState !== "failed") return;
    const before = this.events.readyState === "connecting";
    this.#lose(problem(before ? "connection_failed" : "connection_lost"));
  }

  /** @param {import("./problems.js").Problem} reason */
  #lose(reason) {
    if (this.#over) return;
    this.close();
    this.#emit("lost", reason);
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {unknown} data @returns {{type: string, [field: string]: any} | null} */
function parse(data) {
  try {
    const event = JSON.parse(String(data));
    return typeof event?.type === "string" ? event : null;
  } catch {
    return null;
  }
}

/** Resolves when the candidates are there; host candidates come at once. @param {RTCPeerConnection} peer @returns {Promise<void>} */
function gathered(peer) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    const look = () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      peer.removeEventListener("icegatheringstatechange", look);
      resolve();
    };
    peer.addEventListener("icegatheringstatechange", look);
    look();
  });
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
function within(promise, ms) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new CallProblem(problem("connection_failed"))), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
