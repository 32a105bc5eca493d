// @ts-check
/**
 * Microphone and camera of the call.
 *
 * Events: `changed` (a device came, went or was switched), `problem` with a `Problem` that does not end the call (no
 * camera), `lost` (the microphone ended).
 */

import { CallProblem, mediaProblem, problem } from "./problems.js";

/**
 * What the browser granted; null where it does not say.
 * @typedef {{microphone: "live" | "muted" | "none", camera: "live" | "off", echo_cancellation: boolean | null,
 *   noise_suppression: boolean | null, auto_gain_control: boolean | null}} MediaState
 *
 * @typedef {{microphone: string, camera: string, facing: "user" | "environment"}} Choice device ids, "" for any
 */

const SOUND = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 15, max: 30 } };

export class Media extends EventTarget {
  /** @type {MediaStreamTrack | null} */
  microphone = null;
  /** @type {MediaStreamTrack | null} */
  camera = null;
  muted = false;
  /** @type {Choice} */
  choice = { microphone: "", camera: "", facing: "user" };

  /**
   * Asks for the microphone, and for the camera in the same question: iOS mutes the first capture when a second begins.
   * Without a camera the call is voice only; without a microphone it raises `CallProblem`.
   * @param {boolean} withCamera
   */
  async open(withCamera) {
    const stream = withCamera ? await this.#both() : await this.#capture(this.#soundOnly(), "microphone");
    this.#takeMicrophone(stream.getAudioTracks()[0]);
    this.#takeCamera(stream.getVideoTracks()[0] ?? null);
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.muted = muted;
    if (this.microphone) this.microphone.enabled = !muted;
    this.#changed();
  }

  /** Switches the camera; a camera that cannot start is told by `problem`. @param {boolean} on */
  async setCamera(on) {
    if (!on) return this.#takeCamera(null);
    this.#takeCamera(await this.#cameraAlone());
  }

  /** The other side of the phone. */
  async flip() {
    this.choice = { ...this.choice, camera: "", facing: this.choice.facing === "user" ? "environment" : "user" };
    await this.#restartCamera();
  }

  /** @param {string} deviceId */
  async chooseCamera(deviceId) {
    this.choice = { ...this.choice, camera: deviceId };
    if (this.camera) await this.#restartCamera();
  }

  /** Another microphone; the old one stays when the new one cannot start. @param {string} deviceId */
  async chooseMicrophone(deviceId) {
    const before = this.choice;
    this.choice = { ...this.choice, microphone: deviceId };
    if (!this.microphone) return;
    try {
      const stream = await this.#capture(this.#soundOnly(), "microphone");
      this.#takeMicrophone(stream.getAudioTracks()[0]);
    } catch (error) {
      this.choice = before;
      throw error;
    }
  }

  /** @returns {MediaState} */
  get state() {
    const granted = this.microphone?.getSettings() ?? {};
    return {
      microphone: this.microphone === null ? "none" : this.muted ? "muted" : "live",
      camera: this.camera ? "live" : "off",
      echo_cancellation: asBoolean(granted.echoCancellation),
      noise_suppression: asBoolean(granted.noiseSuppression),
      auto_gain_control: asBoolean(granted.autoGainControl),
    };
  }

  /** Whether the picture faces the person, who expects a mirror then. */
  get mirrored() {
    return this.camera !== null && this.camera.getSettings().facingMode !== "environment";
  }

  /** Lets go of both devices. */
  close() {
    for (const track of [this.microphone, this.camera]) {
      if (track === null) continue;
      track.onended = null;
      track.stop();
    }
    this.microphone = null;
    this.camera = null;
    this.#changed();
  }

  async #both() {
    const wanted = { ...this.#soundOnly(), video: this.#pictureWanted() };
    try {
      return await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      const stream = await this.#capture(this.#soundOnly(), "microphone");
      this.#tell(mediaProblem(error, "camera"));
      return stream;
    }
  }

  async #cameraAlone() {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: this.#pictureWanted() });
      return stream.getVideoTracks()[0];
    } catch (error) {
      this.#tell(mediaProblem(error, "camera"));
      return null;
    }
  }

  /** Phones hold one camera at a time: the old one goes first. */
  async #restartCamera() {
    this.camera?.stop();
    this.#takeCamera(await this.#cameraAlone());
  }

  /** @param {MediaStreamConstraints} wanted @param {"microphone" | "camera"} device */
  async #capture(wanted, device) {
    try {
      return await navigator.mediaDevices.getUserMedia(wanted);
    } catch (error) {
      throw new CallProblem(mediaProblem(error, device));
    }
  }

  #soundOnly() {
    return { audio: { ...SOUND, ...device(this.choice.microphone) } };
  }

  #pictureWanted() {
    const { camera, facing } = this.choice;
    return { ...PICTURE, ...(camera ? device(camera) : { facingMode: { ideal: facing } }) };
  }

  /** @param {MediaStreamTrack} track */
  #takeMicrophone(track) {
    if (this.microphone) this.microphone.onended = null;
    this.microphone?.stop();
    this.microphone = track;
    track.enabled = !this.muted;
    track.onended = () => this.dispatchEvent(new Event("lost"));
    this.#changed();
  }

  /** @param {MediaStreamTrack | null} track */
  #takeCamera(track) {
    if (this.camera) this.camera.onended = null;
    this.camera?.stop();
    this.camera = track;
    if (track) {
      track.contentHint = "detail";
      track.onended = () => {
        this.#takeCamera(null);
        this.#tell(problem("no_camera"));
      };
    }
    this.#changed();
  }

  /** @param {import("./problems.js").Problem} detail */
  #tell(detail) {
    this.dispatchEvent(new CustomEvent("problem", { detail }));
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

/**
 * Devices to choose from; their labels are empty before permission.
 * @returns {Promise<Record<"audioinput" | "videoinput" | "audiooutput", MediaDeviceInfo[]>>}
 */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  const of = (/** @type {string} */ kind) => all.filter((info) => info.kind === kind && info.deviceId);
  return { audioinput: of("audioinput"), videoinput: of("videoinput"), audiooutput: of("audiooutput") };
}

/** @param {string} deviceId */
function device(deviceId) {
  return deviceId ? { deviceId: { exact: deviceId } } : {};
}

/** @param {unknown} value newer browsers may answer with words */
function asBoolean(value) {
  return typeof value === "boolean" ? value : value === undefined ? null : true;
}
