// @ts-check
/** How loud a track is, for the eye only. */

/** Loudness (root mean square) that fills the scale. */
const FULL = 0.12;

export class Loudness {
  #samples = new Float32Array(512);
  /** @type {AudioNode | null} */
  #source = null;

  /** @param {AudioContext} context */
  constructor(context) {
    this.context = context;
    this.analyser = new AnalyserNode(context, { fftSize: 512 });
  }

  /** Listens to this track from now on; some browsers refuse when the sample rates differ. @param {MediaStreamTrack} track */
  listen(track) {
    this.close();
    try {
      this.watch(this.context.createMediaStreamSource(new MediaStream([track])));
    } catch {
      this.#source = null;
    }
  }

  /** @param {AudioNode} source */
  watch(source) {
    this.#source = source;
    source.connect(this.analyser);
  }

  /** 0..1 */
  get value() {
    if (this.#source === null) return 0;
    this.analyser.getFloatTimeDomainData(this.#samples);
    const energy = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    return Math.min(1, Math.sqrt(energy) / FULL);
  }

  close() {
    this.#source?.disconnect(this.analyser);
    this.#source = null;
  }
}
