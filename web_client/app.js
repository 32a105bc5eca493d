// @ts-check
/** The page's wiring: what the person does goes to the call, what the call says goes to the view. */

import { Call } from "./call.js";
import { MannerChoice } from "./manner-choice.js";
import { Manner } from "./manner.js";
import { Media, listDevices } from "./media.js";
import { environmentProblem } from "./problems.js";
import { fetchConfig } from "./signalling.js";
import { Speaker } from "./speaker.js";
import { IDLE, isConnected, isLive, next } from "./states.js";
import { openTestWindow } from "./test-window.js";
import { View } from "./view.js";

/** How long a passing notice stays, in ms. */
const NOTICE_MS = 7000;

const CAMERA_WANTED = "camera-wanted";
const TURNS = "turns";
const SPEECH = new URLSearchParams(location.search).get("audio") === "track" ? "track" : "channel";

export class App {
  view = new View(document);
  media = new Media();
  state = IDLE;
  /** @type {Call | null} */
  call = null;
  /** @type {import("./signalling.js").Config | null} */
  config = null;
  /** @type {Record<string, any>} the engine's capabilities */
  engine = {};
  /** @type {string[]} */
  suggestions = [];
  /** @type {Map<string, import("./view.js").Notice>} */
  notices = new Map();
  cameraWanted = recall(CAMERA_WANTED) !== "no";
  speakerId = "";
  manner = new MannerChoice(this.view, new Manner(recall, remember), (words) => this.#passing("clip", words));
  /** How turns are taken: by talking, or "tap": by tapping before and after. */
  turns = recall(TURNS) ?? "talk";
  canFlip = false;
  /** Whether the gateway writes this call down. */
  recording = false;
  /** The microphone is open only between two taps: the person wants it so, or the room is too loud. */
  tapping = false;
  /** A sentence tapped at rest, said as soon as the call stands. */
  waitingSentence = "";
  clickedAt = 0;
  connectedMs = 0;
  #stateTimer = 0;
  #frame = 0;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  async start() {
    this.#listen();
    this.#render();
    this.config = await fetchConfig();
    this.#engineIs(this.config.engine ?? {});
    this.manner.personas = this.config.personas;
    this.suggestions = this.engine.suggestions ?? [];
    this.#render();
  }

  #listen() {
    /** @type {Record<string, (detail: any) => void>} */
    const actions = {
      call: () => this.placeCall(),
      hangup: () => this.hangUp(),
      mute: () => this.#mute(!this.media.muted),
      tapping: () => this.#tapToTalk(),
      camera: () => void this.#toggleCamera(),
      flip: () => void this.media.flip(),
      stop: () => this.call?.conversation?.stop(),
      say: (text) => this.#say(text),
      typing: () => this.call?.conversation?.typing(),
      show: (file) => void this.#show(file),
      choose: (choice) => void this.#choose(choice),
      manner: (choice) => this.manner.choose(choice),
      clip: (file) => void this.manner.bring(file),
      turns: (turns) => this.#chooseTurns(turns),
      dismiss: (key) => this.#notice(key, ""),
      wake: () => this.call?.speaker.wake(),
      settings: () => {
        this.manner.offer();
        this.view.turns(this.tapping ? "tap" : this.turns);
        void this.#listDevices();
      },
    };
    for (const [type, action] of Object.entries(actions)) {
      this.view.addEventListener(type, (event) => action(/** @type {CustomEvent} */ (event).detail));
    }
    this.media.addEventListener("changed", () => this.#mediaChanged());
    this.media.addEventListener("problem", (event) => this.#tellProblem(/** @type {CustomEvent} */ (event).detail));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#listDevices());
    window.addEventListener("pagehide", () => this.hangUp());
    document.addEventListener("visibilitychange", () => this.call?.speaker.wake());
  }

  /** Must run inside the click. */
  placeCall() {
    if (isLive(this.state)) return;
    const obstacle = environmentProblem(window);
    if (obstacle) return this.signal({ type: "problem", problem: obstacle });
    this.clickedAt = performance.now();
    this.connectedMs = 0;
    this.recording = false;
    this.notices.clear();
    this.view.captions.clear();
    const { audio, video } = this.view;
    const iceServers = this.config?.ice_servers ?? [];
    const call = new Call({ audio, video, media: this.media, iceServers, speech: SPEECH });
    this.call = call;
    this.#follow(call);
    this.signal({ type: "call" });
    void call.start(this.cameraWanted);
    this.#animate();
  }

  hangUp() {
    this.waitingSentence = "";
    this.tapping = false;
    this.call?.close();
    if (isLive(this.state)) this.signal({ type: "hangup" });
  }

  /** @param {import("./states.js").Signal} signal */
  signal(signal) {
    this.state = next(this.state, signal, performance.now());
    clearTimeout(this.#stateTimer);
    if (this.state.expires !== null) {
      const wait = this.state.expires - performance.now() + 1;
      this.#stateTimer = window.setTimeout(() => this.signal({ type: "tick" }), wait);
    }
    if (signal.type === "connected") this.#connected();
    this.#render();
  }

  /** @param {Call} call */
  #follow(call) {
    /** @type {Record<string, (detail: any) => void>} */
    const reactions = {
      signal: (signal) => this.signal(signal),
      session: (session) => this.#session(session),
      captions: () => this.view.captions.render(call.conversation?.captions.lines ?? []),
      suggestions: (suggestions) => this.#suggest(suggestions),
      notice: (notice) => this.#callNotice(notice),
      ended: () => this.manner.end(),
    };
    for (const [type, react] of Object.entries(reactions)) {
      call.addEventListener(type, (event) => react(/** @type {CustomEvent} */ (event).detail));
    }
  }

  #connected() {
    this.connectedMs = performance.now() - this.clickedAt;
    if (this.speakerId) void this.call?.speaker.select(this.speakerId);
    if (this.call) this.manner.begin(this.call);
    if (this.turns === "tap") this.#tapToTalk();
    if (this.waitingSentence) this.call?.conversation?.say(this.waitingSentence);
    this.waitingSentence = "";
    void this.#listDevices();
  }

  /** @param {string} text */
  #say(text) {
    if (isConnected(this.state)) return this.call?.conversation?.say(text);
    this.waitingSentence = text;
    this.placeCall();
  }

  /** @param {File} file */
  async #show(file) {
    const shown = await this.call?.show(file);
    if (!shown) this.#passing("picture", "This picture could not be shown. Try a JPEG or PNG file.");
  }

  async #toggleCamera() {
    this.cameraWanted = isLive(this.state) ? this.media.camera === null : !this.cameraWanted;
    remember(CAMERA_WANTED, this.cameraWanted ? "yes" : "no");
    if (isLive(this.state)) await this.media.setCamera(this.cameraWanted);
    this.#render();
  }

  /** @param {{kind: string, deviceId: string}} choice */
  async #choose({ kind, deviceId }) {
    try {
      if (kind === "audioinput") await this.media.chooseMicrophone(deviceId);
      else if (kind === "videoinput") await this.media.chooseCamera(deviceId);
      else await this.#chooseSpeaker(deviceId);
    } catch (error) {
      this.#passing("device", `This device cannot be used. ${error instanceof Error ? error.message : ""}`.trim());
    }
    await this.#listDevices();
  }

  /** @param {string} turns */
  #chooseTurns(turns) {
    this.turns = turns;
    remember(TURNS, turns);
    if (!isConnected(this.state)) return;
    if (turns === "tap") this.#tapToTalk();
    else if (this.tapping) this.#justTalk();
  }

  /** @param {string} deviceId */
  async #chooseSpeaker(deviceId) {
    this.speakerId = deviceId;
    if (isLive(this.state)) await this.call?.speaker.select(deviceId);
  }

  async #listDevices() {
    const devices = await listDevices();
    const { microphone, camera } = this.media.choice;
    const chosen = {
      audioinput: this.media.microphone?.getSettings().deviceId ?? microphone,
      videoinput: this.media.camera?.getSettings().deviceId ?? camera,
      audiooutput: this.speakerId,
    };
    this.canFlip = devices.videoinput.length > 1;
    this.view.devices(devices, chosen, Speaker.selectable);
    this.#render();
  }

  #mediaChanged() {
    const { camera } = this.media;
    const shown = /** @type {MediaStream | null} */ (this.view.video.srcObject)?.getVideoTracks()[0] ?? null;
    if (shown !== camera) this.view.video.srcObject = camera ? new MediaStream([camera]) : null;
    if (camera && shown !== camera) this.view.video.play().catch(() => undefined);
    if (this.media.muted) this.notices.delete("silent");
    this.#render();
  }

  /** @param {import("./problems.js").Problem} problem */
  #tellProblem({ code, title, advice }) {
    this.#passing(code, `${title}. ${advice}`);
  }

  /** @param {{kind: string, text: string}} notice */
  #callNotice({ kind, text }) {
    if (kind === "silent" && this.media.muted) return;
    if (kind === "blocked") this.#notice(kind, text, "Tap to go on");
    else if (kind === "hands-free") this.#notice(kind, text, this.tapping ? undefined : "Tap to talk");
    else if (kind === "error") this.#passing(kind, text);
    else this.#notice(kind, text);
  }

  /** With tap-to-talk, whoever opens the microphone has the floor at once, and closing it asks. @param {boolean} muted */
  #mute(muted) {
    if (this.tapping && !muted) this.call?.conversation?.stop();
    this.media.mute(muted);
    if (this.tapping && muted) this.call?.conversation?.finish();
  }

  #tapToTalk() {
    this.tapping = true;
    this.notices.delete("hands-free");
    this.call?.conversation?.takeTurns("tap");
    this.media.mute(true);
  }

  #justTalk() {
    this.tapping = false;
    this.call?.conversation?.takeTurns("talk");
    this.media.mute(false);
  }

  /** A notice that goes by itself. @param {string} key @param {string} text */
  #passing(key, text) {
    this.#notice(key, text);
    const notice = this.notices.get(key);
    setTimeout(() => {
      if (this.notices.get(key) === notice) this.#notice(key, "");
    }, NOTICE_MS);
  }

  /** A notice that stays until it is over or dismissed. @param {string} key @param {string} text "" ends it @param {string} [action] */
  #notice(key, text, action) {
    if (text) this.notices.set(key, { key, text, action });
    else this.notices.delete(key);
    this.#render();
  }

  /** @param {{capabilities?: any, recording?: boolean, voice?: string, instructions?: string}} session */
  #session(session) {
    if (session.capabilities) this.#engineIs(session.capabilities);
    this.manner.follow(session);
    this.recording = session.recording === true;
    this.#render();
  }

  /** @param {Record<string, any>} engine its capabilities */
  #engineIs(engine) {
    this.engine = engine;
    this.manner.engine = engine;
  }

  /** @param {string[]} suggestions */
  #suggest(suggestions) {
    this.suggestions = suggestions;
    this.#render();
  }

  /** The shape follows the voices 30 times a second; for who wants no motion it stands still. */
  #animate() {
    if (!isLive(this.state)) return this.view.levels(0, 0);
    if (this.#still.matches) return this.view.levels(0.3, 0.5);
    this.#frame += 1;
    if (this.#frame % 2) this.view.levels(this.call?.microphone ?? 0, this.call?.voice ?? 0);
    requestAnimationFrame(() => this.#animate());
  }

  #render() {
    const { media, state, engine } = this;
    const live = isLive(state);
    this.view.render({
      state,
      muted: media.muted,
      tapping: this.tapping,
      cameraOn: live && state.name !== "connecting" ? media.camera !== null : this.cameraWanted,
      cameraLive: media.camera !== null,
      mirrored: media.mirrored,
      canFlip: this.canFlip,
      canStop: this.call?.conversation?.answering ?? false,
      brand: engine.model ?? "Assistant",
      standIn: engine.scripted ? engine.notice || "Scripted stand-in, not a network" : "",
      manner: isConnected(state) ? this.manner.words : "",
      recording: live && this.recording,
      about: [engine.engine, this.config?.version].filter(Boolean).join(" · "),
      suggestions: this.suggestions,
      notices: [...this.notices.values()],
    });
  }
}

/** Browsers that keep nothing raise an error instead; then every call begins with the usual choice. @param {string} key */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    return;
  }
}

const app = new App();
openTestWindow(app);
void app.start();
