"""The data channels of a call, by label."""

EVENTS = "oai-events"
AUDIO = "audio"
CAMERA = "camera"
LABELS = (EVENTS, AUDIO, CAMERA)
