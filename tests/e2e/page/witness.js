// @ts-check
/**
 * Runs before the page's own scripts and witnesses a call without taking part in it.
 *
 * `window.__witness`:
 *     speech          messages of the channel `audio` as they came, ArrayBuffer[] (copies: the page gives its own away)
 *     events          events of the gateway as they came, string[]
 *     violations      what the content security policy refused, string[]
 *     record(stream)  records a stream from now on, as PCM in WebM; it replaces the recording before it
 *     seconds         length of the recording so far
 *     recording()     the recording so far, a file as base64
 *     spoken()        all of `speech`, one message after another with a u32 length each, as base64
 */

(() => {
  const BYTES_PER_SECOND = 48_000 * 4;
  const PIECE_MS = 100;

  /** @type {ArrayBuffer[]} */
  const speech = [];
  /** @type {string[]} */
  const events = [];
  /** @type {string[]} */
  const violations = [];
  /** @type {MediaRecorder | null} */
  let recorder = null;
  /** @type {Blob[]} */
  let pieces = [];

  document.addEventListener("securitypolicyviolation", (event) => {
    violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
  });

  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (label, options) {
    const channel = create.call(this, label, options);
    if (label === "audio") channel.addEventListener("message", (event) => speech.push(event.data.slice(0)));
    if (label === "oai-events") channel.addEventListener("message", (event) => events.push(event.data));
    return channel;
  };

  /** @param {MediaStream} stream */
  function record(stream) {
    if (recorder) {
      recorder.ondataavailable = null;
      recorder.stop();
    }
    const kept = (pieces = []);
    recorder = new MediaRecorder(stream, { mimeType: "audio/webm;codecs=pcm" });
    recorder.ondataavailable = (event) => kept.push(event.data);
    recorder.start(PIECE_MS);
  }

  /** @param {Blob} blob @returns {Promise<string>} */
  function base64(blob) {
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
      reader.readAsDataURL(blob);
    });
  }

  const witness = {
    speech,
    events,
    violations,
    record,
    recording: () => base64(new Blob(pieces)),
    spoken: () => base64(new Blob(speech.flatMap((message) => [Uint32Array.of(message.byteLength), message]))),
    get seconds() {
      return pieces.reduce((bytes, piece) => bytes + piece.size, 0) / BYTES_PER_SECOND;
    },
  };
  Object.defineProperty(window, "__witness", { value: witness });
})();
