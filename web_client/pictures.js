// @ts-check
/**
 * Pictures for the assistant: one JPEG still of the camera a second, and pictures the person shows.
 *
 * A still never waits in line: it is skipped while the channel `camera` still sends, and its quality follows its size.
 */

import { MAX_SHOWN_BYTES, MAX_STILL_BYTES, PictureKind, encodePicture } from "./messages.js";

const STILL_EVERY_MS = 1000;
const LONGEST_STILL = 1024;
const LONGEST_SHOWN = 2048;
const LOWEST_QUALITY = 0.3;
const HIGHEST_QUALITY = 0.85;
const QUALITY_STEP = 0.1;
const ROOMY = 0.6;
const SMALLER = 0.75;
/** Tries to make one still small enough. */
const MOST_ATTEMPTS = 6;
const MOST_IN_FLIGHT = 64 * 1024;

/** The channel that pictures go through. @typedef {() => RTCDataChannel | null} Channel */

export class Pictures {
  #number = 0;
  #quality = 0.7;
  #scale = 1;
  #timer = 0;
  #busy = false;
  /** @type {Promise<unknown>} the work in hand */
  #work = Promise.resolve();
  #canvas = document.createElement("canvas");

  /** @param {HTMLVideoElement} video shows the camera @param {Channel} channel */
  constructor(video, channel) {
    this.video = video;
    this.channel = channel;
    this.sent = 0;
    this.skipped = 0;
  }

  /** Sends stills from now on. */
  start() {
    this.stop();
    this.#timer = window.setInterval(() => void this.#still(), STILL_EVERY_MS);
    void this.#still();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  /**
   * Shows a picture file; false when it cannot be read as a picture, or the call is over.
   * @param {Blob} file
   */
  async show(file) {
    const picture = await createImageBitmap(file).catch(() => null);
    if (picture === null) return false;
    const jpeg = await this.#fitting(picture);
    picture.close();
    if (jpeg === null) return false;
    return this.#alone(() => this.#send(PictureKind.SHOWN, jpeg));
  }

  async #still() {
    const channel = this.channel();
    if (channel?.readyState !== "open" || this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    if (this.#busy || channel.bufferedAmount > 0) {
      this.skipped += 1;
      return;
    }
    await this.#alone(() => this.#sendStill());
  }

  async #sendStill() {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      const size = fit(this.video.videoWidth, this.video.videoHeight, LONGEST_STILL * this.#scale);
      const jpeg = await draw(this.#canvas, this.video, size, this.#quality);
      if (jpeg !== null && this.#adapt(jpeg.length)) return this.#send(PictureKind.STILL, jpeg);
    }
    return false;
  }

  /** Follows the size of the last still; false when it is too large to be sent. @param {number} bytes */
  #adapt(bytes) {
    if (bytes > MAX_STILL_BYTES && this.#quality > LOWEST_QUALITY) this.#quality -= QUALITY_STEP;
    else if (bytes > MAX_STILL_BYTES) this.#scale *= SMALLER;
    else if (bytes < ROOMY * MAX_STILL_BYTES && this.#scale < 1) this.#scale = Math.min(1, this.#scale / SMALLER);
    else if (bytes < ROOMY * MAX_STILL_BYTES) this.#quality = Math.min(HIGHEST_QUALITY, this.#quality + QUALITY_STEP / 2);
    return bytes <= MAX_STILL_BYTES;
  }

  /** @param {ImageBitmap} picture */
  async #fitting(picture) {
    const canvas = document.createElement("canvas");
    for (let longest = LONGEST_SHOWN; longest >= 256; longest *= SMALLER) {
      const jpeg = await draw(canvas, picture, fit(picture.width, picture.height, longest), 0.9);
      if (jpeg !== null && jpeg.length <= MAX_SHOWN_BYTES) return jpeg;
    }
    return null;
  }

  /** @param {number} kind @param {Uint8Array} jpeg */
  async #send(kind, jpeg) {
    this.#number += 1;
    for (const slice of encodePicture(kind, this.#number, jpeg)) {
      if (!(await this.#sendSlice(slice))) return false;
    }
    this.sent += 1;
    return true;
  }

  /** One picture at a time: a slice of another would break the first. @param {() => Promise<boolean>} work */
  #alone(work) {
    const done = this.#work.then(async () => {
      this.#busy = true;
      try {
        return await work();
      } finally {
        this.#busy = false;
      }
    });
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** @param {ArrayBuffer} slice */
  async #sendSlice(slice) {
    const channel = this.channel();
    if (channel?.readyState !== "open") return false;
    if (channel.bufferedAmount > MOST_IN_FLIGHT) await drained(channel);
    if (channel.readyState !== "open") return false;
    channel.send(slice);
    return true;
  }
}

/** @param {number} width @param {number} height @param {number} longest */
function fit(width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasImageSource} source
 * @param {{width: number, height: number}} size
 * @param {number} quality
 * @returns {Promise<Uint8Array | null>} a JPEG file
 */
async function draw(canvas, source, size, quality) {
  canvas.width = size.width;
  canvas.height = size.height;
  canvas.getContext("2d")?.drawImage(source, 0, 0, size.width, size.height);
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
  return blob ? new Uint8Array(await blob.arrayBuffer()) : null;
}

/** Resolves when the channel has sent what waits, or closes. @param {RTCDataChannel} channel @returns {Promise<void>} */
function drained(channel) {
  return new Promise((resolve) => {
    const done = () => {
      channel.removeEventListener("bufferedamountlow", done);
      channel.removeEventListener("close", done);
      resolve();
    };
    channel.bufferedAmountLowThreshold = MOST_IN_FLIGHT / 2;
    channel.addEventListener("bufferedamountlow", done);
    channel.addEventListener("close", done);
  });
}
