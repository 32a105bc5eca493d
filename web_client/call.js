// @ts-check
/**
 * One call from the click to the end: devices, speaker, connection, conversation and pictures, wired and freed together.
 *
 * Events: `signal` (for states.js), `captions`, `suggestions` (string[]), `notice` ({kind, text}), `session` (what the
 * gateway said of itself), `ended` (everything is freed).
 */

import { Connection } from "./connection.js";
import { Conversation, EXTENSIONS } from "./conversation.js";
import { Loudness } from "./loudness.js";
import { Pictures } from "./pictures.js";
import { Player } from "./player.js";
import { CallProblem, problem } from "./problems.js";
import { Speaker } from "./speaker.js";
import { TrackPlayer } from "./track-player.js";

/** Speech kept while the way to the loudspeaker is not there yet: 5 s. */
const MOST_EARLY = 250;

/** @typedef {import("./connection.js").SpeechPath} SpeechPath */

/** No worklet or no loopback connection here: the speech has to come as an Opus track. */
class NoPlayer extends Error {}

export class Call extends EventTarget {
  /** @type {Connection | null} */
  connection = null;
  /** @type {Conversation | null} */
  conversation = null;
  /** @type {import("./player.js").SpeechPlayer | null} */
  player = null;
  /** @type {Loudness} the person's */
  #microphone;
  /** @type {Loudness} the assistant's, as it comes out */
  #voice;
  /** @type {WakeLockSentinel | null} */
  #wakeLock = null;
  #over = false;
  /** @type {(event: Event) => void} */
  #mediaChanged = () => this.#tellMedia();
  #microphoneLost = () => this.#fail(problem("microphone_lost"));

  /**
   * Call this inside the click, then `start`.
   * @param {{audio: HTMLAudioElement, video: HTMLVideoElement, media: import("./media.js").Media,
   *   iceServers: RTCIceServer[], speech: SpeechPath}} parts
   */
  constructor({ audio, video, media, iceServers, speech }) {
    super();
    this.media = media;
    this.iceServers = iceServers;
    this.speech = "AudioWorkletNode" in window ? speech : "track";
    this.speaker = new Speaker(audio);
    this.#microphone = new Loudness(this.speaker.context);
    this.#voice = new Loudness(this.speaker.context);
    this.pictures = new Pictures(video, () => this.connection?.camera ?? null);
    for (const type of ["blocked", "unblocked"]) {
      this.speaker.addEventListener(type, () => this.#emit("notice", { kind: "blocked", text: SOUND[type] }));
    }
  }

  /** Connects; ends itself and says why when it cannot. @param {boolean} withCamera */
  async start(withCamera) {
    try {
      const ready = this.#openPlayer();
      ready.catch(() => undefined);
      await this.media.open(withCamera);
      this.#checkAlive();
      await this.#connect(ready);
      this.#checkAlive();
      this.#begin();
    } catch (error) {
      if (!this.#over) this.#fail(error instanceof CallProblem ? error.problem : problem("unexpected", String(error)));
    }
  }

  /** Hangs up and frees everything. */
  close() {
    if (this.#over) return;
    this.#over = true;
    this.media.removeEventListener("changed", this.#mediaChanged);
    this.media.removeEventListener("lost", this.#microphoneLost);
    this.connection?.close();
    this.pictures.stop();
    this.player?.close();
    this.#microphone.close();
    this.#voice.close();
    this.media.close();
    void this.#wakeLock?.release();
    void this.speaker.close();
    this.dispatchEvent(new Event("ended"));
  }

  /** Loudness of the person, 0..1. */
  get microphone() {
    return this.media.muted ? 0 : this.#microphone.value;
  }

  /** Loudness of the assistant, 0..1. */
  get voice() {
    return this.#voice.value;
  }

  /** @param {Blob} file @returns {Promise<boolean>} */
  async show(file) {
    const shown = await this.pictures.show(file);
    if (shown) this.conversation?.pictured();
    return shown;
  }

  /** Raises `NoPlayer`. @returns {Promise<import("./player.js").SpeechPlayer>} */
  async #openPlayer() {
    if (this.speech === "track") return new TrackPlayer();
    const { context, input } = this.speaker;
    try {
      const player = Player.open(context, input, () => this.speaker.delay);
      await Promise.all([player, this.speaker.connectLoopback()]);
      this.#voice.watch(input);
      return await player;
    } catch (error) {
      throw new NoPlayer(String(error));
    }
  }

  /** @param {Promise<import("./player.js").SpeechPlayer>} ready */
  async #connect(ready) {
    try {
      await this.#place(ready);
    } catch (error) {
      if (!(error instanceof NoPlayer) || this.#over) throw error;
      this.connection?.close();
      this.speech = "track";
      await this.#place(this.#openPlayer());
    }
  }

  /** @param {Promise<import("./player.js").SpeechPlayer>} ready */
  async #place(ready) {
    const connection = new Connection(this.iceServers, this.speech);
    this.connection = connection;
    const early = holdSpeech(connection);
    const heard = holdEvents(connection);
    connection.addEventListener("queued", (event) => this.#queued(detailOf(event)));
    connection.addEventListener("stream", (event) => this.#playTrack(detailOf(event)));
    connection.addEventListener("lost", (event) => this.#fail(detailOf(event)));
    const microphone = /** @type {MediaStreamTrack} */ (this.media.microphone);
    const [player, session] = await Promise.all([ready, connection.place(microphone)]);
    this.#checkAlive();
    this.#converse(connection, player);
    early((message) => player.accept(message));
    heard((event) => {
      this.conversation?.handle(event);
      if (event.type === "session.updated") this.#emit("session", event.session);
    });
    this.#emit("session", session);
  }

  /** @param {Connection} connection @param {import("./player.js").SpeechPlayer} player */
  #converse(connection, player) {
    this.player = player;
    const conversation = new Conversation({
      send: (event) => connection.send(event),
      player,
      reports: this.speech === "channel",
    });
    this.conversation = conversation;
    conversation.addEventListener("flush", () => this.speaker.mute());
    conversation.addEventListener("audible", () => this.speaker.unmute());
    // A hold that comes to nothing loses what is on its way through the loopback; a hold that is heard late is worse.
    conversation.addEventListener("hold", () => this.speaker.mute());
    conversation.addEventListener("resume", () => this.speaker.unmute());
    for (const type of ["signal", "suggestions", "notice", "captions"]) {
      conversation.addEventListener(type, (event) => this.#emit(type, detailOf(event)));
    }
  }

  /** @param {MediaStream} stream */
  #playTrack(stream) {
    this.speaker.playStream(stream);
    this.#voice.listen(stream.getAudioTracks()[0]);
  }

  #begin() {
    this.connection?.send({ type: "session.update", session: { extensions: EXTENSIONS } });
    this.media.addEventListener("changed", this.#mediaChanged);
    this.media.addEventListener("lost", this.#microphoneLost);
    this.#tellMedia();
    void this.#keepAwake();
    this.#emit("signal", { type: "connected" });
  }

  /** How the assistant is from its next answer on. @param {{voice?: string, instructions?: string, language?: string}} session */
  configure(session) {
    if (Object.keys(session).length) this.connection?.send({ type: "session.update", session });
  }

  /** Brings a clip of a voice; resolves with its name. Raises `VoiceRefused`. @param {Blob} clip */
  async bringVoice(clip) {
    return this.connection?.bringVoice(clip) ?? "";
  }

  /** The devices changed: the gateway, the peer connection and the meter follow. */
  #tellMedia() {
    const { microphone, camera } = this.media;
    if (this.#over || microphone === null) return;
    this.connection?.send({ type: "media.state", ...this.media.state });
    void this.connection?.replaceMicrophone(microphone);
    this.#microphone.listen(microphone);
    if (camera) this.pictures.start();
    else this.pictures.stop();
  }

  /** @param {{place: number, wait_s: number}} queued */
  #queued({ place, wait_s }) {
    this.#emit("signal", { type: "queued", place, waitS: wait_s });
  }

  /** A kiosk's screen stays on during a call, where the browser can do that. */
  async #keepAwake() {
    this.#wakeLock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    if (this.#over) void this.#wakeLock?.release();
  }

  #checkAlive() {
    if (this.#over) throw new CallProblem(problem("ended"));
  }

  /** @param {import("./problems.js").Problem} reason */
  #fail(reason) {
    if (this.#over) return;
    this.#emit("signal", { type: "problem", problem: reason });
    this.close();
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @type {Record<string, string>} */
const SOUND = { blocked: "The sound was interrupted.", unblocked: "" };

/** @param {Event} event */
function detailOf(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

/** Keeps speech until the returned function gives it, and what follows, to its receiver. @param {Connection} connection */
function holdSpeech(connection) {
  /** @type {import("./messages.js").SpeechMessage[]} */
  const held = [];
  /** @type {(message: import("./messages.js").SpeechMessage) => void} */
  let take = (message) => {
    if (held.length < MOST_EARLY) held.push(message);
  };
  connection.addEventListener("speech", (event) => take(detailOf(event)));
  return (/** @type {typeof take} */ receiver) => {
    held.forEach(receiver);
    take = receiver;
  };
}

/** The same for events, which come in order and are few before the call begins. @param {Connection} connection */
function holdEvents(connection) {
  /** @type {any[]} */
  const held = [];
  /** @type {(event: any) => void} */
  let take = (event) => void held.push(event);
  connection.addEventListener("event", (event) => take(detailOf(event)));
  return (/** @type {typeof take} */ receiver) => {
    held.forEach(receiver);
    take = receiver;
  };
}
