// @ts-check
/**
 * A room without echo cancellation: what the page's `<audio>` element gives out comes back into its microphone, 80 ms
 * later and 10 dB softer.
 *
 * `window.__room` is the stream that the page takes for its microphone, once it has asked for one.
 */

(() => {
  const DELAY_S = 0.08;
  const GAIN = 10 ** (-10 / 20);
  const LOOK_EVERY_MS = 20;

  const capture = MediaDevices.prototype.getUserMedia;
  MediaDevices.prototype.getUserMedia = async function (wanted) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await capture.call(this, { ...wanted, audio });
    const context = new AudioContext();
    const room = context.createMediaStreamDestination();
    context.createMediaStreamSource(new MediaStream(stream.getAudioTracks())).connect(room);
    const delay = new DelayNode(context, { delayTime: DELAY_S });
    delay.connect(new GainNode(context, { gain: GAIN })).connect(room);
    const looking = setInterval(() => {
      const played = window.__call?.loopbackStream;
      if (!played) return;
      clearInterval(looking);
      const loudspeaker = new GainNode(context);
      context.createMediaStreamSource(played).connect(loudspeaker).connect(delay);
      const element = /** @type {HTMLAudioElement} */ (document.querySelector("audio"));
      const follow = () => (loudspeaker.gain.value = element.muted ? 0 : 1);
      element.addEventListener("volumechange", follow);
      follow();
    }, LOOK_EVERY_MS);
    const heard = new MediaStream([...room.stream.getAudioTracks(), ...stream.getVideoTracks()]);
    Object.defineProperty(window, "__room", { value: heard, configurable: true });
    return heard;
  };
})();
