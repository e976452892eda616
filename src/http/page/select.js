// Which queues to ask for. Up to a thousand come in one answer and are sorted here by anything; of more, the server gives one page by
// name, or those with the largest numbers. Nothing here knows the page or the wire.

/** As many as one answer can have. */
export const WHOLE = 1000;
/** As many as are shown. */
export const PAGE = 50;
const LARGEST = ["unread", "puts_per_s", "gets_per_s"];

export class Selection {
  filter = "";
  key = "name";
  down = false;
  page = 0;
  /** How many there are with the filter; `null` until the server has said it. */
  matched = null;
  /** Behind which name each page begins. */
  #after = [null];

  find(filter) {
    if (filter === this.filter) return;
    this.filter = filter;
    this.matched = null;
    this.#restart();
  }

  /** Numbers begin with the largest. */
  sort(key, isNumber) {
    this.down = this.key === key && this.isWhole() ? !this.down : isNumber;
    this.key = key;
    this.#restart();
  }

  turn(pages) {
    this.page = Math.max(0, this.page + pages);
  }

  isWhole() {
    return this.matched != null && this.matched <= WHOLE;
  }

  /** Whether one can sort by it. */
  can(key) {
    return key === "name" || LARGEST.includes(key) || this.isWhole();
  }

  /** The parameters of the request. */
  request() {
    const name = this.filter ? { name: this.filter } : {};
    if (this.isWhole()) return { limit: WHOLE, ...name };
    if (LARGEST.includes(this.key)) return { limit: Math.min(WHOLE, PAGE * (this.page + 1)), sort: this.key, ...name };
    const after = this.#after[this.page];
    return { limit: PAGE, ...name, ...(after == null ? {} : { after }) };
  }

  /** The rows to show of an answer; `null`: ask again, because it was not known yet how many there are. */
  rows({ queues, matched, next }) {
    const wasKnown = this.matched != null;
    const wasWhole = this.isWhole();
    this.matched = matched;
    if (this.isWhole() !== wasWhole && queues.length < matched && (wasKnown || matched <= WHOLE)) {
      if (!this.can(this.key)) [this.key, this.down] = ["name", false];
      this.#restart();
      return null;
    }
    const from = () => PAGE * (this.page = Math.max(0, Math.min(this.page, Math.ceil(queues.length / PAGE) - 1)));
    if (this.isWhole()) return sorted(queues, this.key, this.down).slice(from(), from() + PAGE);
    if (LARGEST.includes(this.key)) return queues.slice(from(), from() + PAGE);
    this.#after[this.page + 1] = next;
    return queues;
  }

  hasNext() {
    if (this.isWhole()) return PAGE * (this.page + 1) < this.matched;
    if (LARGEST.includes(this.key)) return PAGE * (this.page + 1) < WHOLE;
    return this.#after[this.page + 1] != null;
  }

  #restart() {
    this.page = 0;
    this.#after = [null];
  }
}

/** Equal ones by name; what has no value comes last. */
function sorted(queues, key, down) {
  const sign = down ? -1 : 1;
  return [...queues].sort((a, b) => {
    const [x, y] = [a[key], b[key]];
    if (x !== y && (x == null || y == null)) return x == null ? 1 : -1;
    const order = x < y ? -sign : x > y ? sign : 0;
    return order || (a.name < b.name ? -1 : 1);
  });
}
