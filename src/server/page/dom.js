// Finds and makes elements of the page.

export const find = (selector, within = document) => within.querySelector(selector);

/** An element with children; strings become text nodes, so nothing that a peer sends is read as markup. */
export const make = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

/** A `time` element that shows hours and minutes. */
export const makeTime = (at) => make('time', { textContent: clock.format(at), dateTime: new Date(at).toISOString() });

const AT_END_PX = 40;

/**
 * A scrolled list that shows its newest line, unless the reader has scrolled away. It also follows when its height changes,
 * as with an on-screen keyboard.
 */
export class Log {
  #element;
  #most;
  #following = true;

  constructor(element, most) {
    this.#element = element;
    this.#most = most;
    element.addEventListener('scroll', () => {
      this.#following = element.scrollHeight - element.scrollTop - element.clientHeight < AT_END_PX;
    });
    new ResizeObserver(() => this.#follow()).observe(element);
  }

  /** Adds a line. The reader's own line is always scrolled into view. */
  append(line, { own = false } = {}) {
    this.#element.append(line);
    while (this.#element.children.length > this.#most) this.#element.firstChild.remove();
    this.#following ||= own;
    this.#follow();
  }

  clear() {
    this.#element.replaceChildren();
    this.#following = true;
  }

  #follow() {
    if (this.#following) this.#element.scrollTop = this.#element.scrollHeight;
  }
}
