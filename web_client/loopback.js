// @ts-check
/**
 * A peer connection from the page to itself. Browsers cancel the echo of what plays through WebRTC in an `<audio>`
 * element; what Web Audio plays directly comes back through the microphone on some of them.
 */

/** The loopback connection could not be made; the sound needs another way out. */
export class LoopbackError extends Error {}

const PACKET_MS = 10;
const BITS_PER_SECOND = 96_000;

export class Loopback {
  /** @param {RTCPeerConnection} sender @param {RTCPeerConnection} receiver @param {MediaStream} stream */
  constructor(sender, receiver, stream) {
    this.sender = sender;
    this.receiver = receiver;
    /** What comes out of the connection. */
    this.stream = stream;
  }

  /**
   * Connects `input` to a new stream. Raises `LoopbackError` after `timeoutMs`.
   * @param {MediaStream} input with one audio track
   * @param {number} timeoutMs
   * @returns {Promise<Loopback>}
   */
  static async open(input, timeoutMs) {
    const sender = new RTCPeerConnection({ iceServers: [] });
    const receiver = new RTCPeerConnection({ iceServers: [] });
    try {
      const connected = bothConnected(sender, receiver, timeoutMs);
      const [stream] = await Promise.all([negotiate(sender, receiver, input), connected]);
      return new Loopback(sender, receiver, stream);
    } catch (error) {
      sender.close();
      receiver.close();
      throw new LoopbackError(`no loopback connection within ${timeoutMs} ms: ${error}`);
    }
  }

  close() {
    this.sender.close();
    this.receiver.close();
  }
}

/**
 * @param {RTCPeerConnection} sender
 * @param {RTCPeerConnection} receiver
 * @param {MediaStream} input
 */
async function negotiate(sender, receiver, input) {
  sender.onicecandidate = (event) => receiver.addIceCandidate(event.candidate ?? undefined).catch(() => undefined);
  receiver.onicecandidate = (event) => sender.addIceCandidate(event.candidate ?? undefined).catch(() => undefined);
  /** @type {Promise<MediaStream>} */
  const arrived = new Promise((resolve) => {
    receiver.ontrack = (event) => {
      play(event.receiver);
      resolve(event.streams[0] ?? new MediaStream([event.track]));
    };
  });
  sender.addTrack(input.getAudioTracks()[0], input);
  await sender.setLocalDescription(await sender.createOffer());
  await receiver.setRemoteDescription(/** @type {RTCSessionDescription} */ (sender.localDescription));
  await receiver.setLocalDescription(await receiver.createAnswer());
  const answer = /** @type {RTCSessionDescription} */ (receiver.localDescription);
  await sender.setRemoteDescription({ type: "answer", sdp: speechOverOpus(answer.sdp) });
  return arrived;
}

/** Asks for the shortest buffer, where the browser lets us. @param {RTCRtpReceiver} receiver */
function play(receiver) {
  if ("jitterBufferTarget" in receiver) /** @type {any} */ (receiver).jitterBufferTarget = 0;
}

/** Short packets, enough bits, no pauses in sending. @param {string} sdp */
function speechOverOpus(sdp) {
  const payload = /a=rtpmap:(\d+) opus\/48000/i.exec(sdp)?.[1];
  if (payload === undefined) return sdp;
  const wish = `minptime=${PACKET_MS};maxaveragebitrate=${BITS_PER_SECOND};useinbandfec=0;usedtx=0`;
  return sdp.replace(new RegExp(`a=fmtp:${payload} .*`), `a=fmtp:${payload} ${wish}\r\na=ptime:${PACKET_MS}`);
}

/**
 * @param {RTCPeerConnection} sender
 * @param {RTCPeerConnection} receiver
 * @param {number} timeoutMs
 * @returns {Promise<void>}
 */
function bothConnected(sender, receiver, timeoutMs) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("timeout")), timeoutMs);
    const look = () => {
      const states = [sender.connectionState, receiver.connectionState];
      if (states.includes("failed")) reject(new Error("connection failed"));
      if (!states.every((state) => state === "connected")) return;
      clearTimeout(timer);
      resolve();
    };
    sender.onconnectionstatechange = look;
    receiver.onconnectionstatechange = look;
  });
}
