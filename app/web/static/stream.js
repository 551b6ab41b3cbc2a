// The events of one job as they come. A connection that breaks is taken up again where it broke: by the browser itself
// with `Last-Event-ID`, and by us where the browser gives up.

const TYPES = ["status", "metrics", "checkpoint", "log", "warning"];
const AGAIN_MILLISECONDS = 3000;

export class EventStream {
  #source = null;
  #timer = null;

  constructor(jobId, lastId, { onEvent, onLive }) {
    Object.assign(this, { jobId, lastId, onEvent, onLive });
  }

  open() {
    if (this.#source) return;
    const source = new EventSource(`/v1/jobs/${this.jobId}/events?cursor=${this.lastId}`);
    this.#source = source;
    source.addEventListener("open", () => this.onLive(true));
    source.addEventListener("error", () => {
      this.onLive(false);
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
    for (const type of TYPES) source.addEventListener(type, (event) => this.#take(event));
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.onLive(false);
  }

  #take({ lastEventId, data }) {
    if (Number(lastEventId) <= this.lastId) return;
    this.lastId = Number(lastEventId);
    this.onEvent(JSON.parse(data));
  }

  #again() {
    this.#source = null;
    this.#timer = setTimeout(() => this.open(), AGAIN_MILLISECONDS);
  }
}
