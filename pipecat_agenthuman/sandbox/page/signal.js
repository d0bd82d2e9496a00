// News of what has changed, by topic.

/** Calls who has asked for a topic. */
export class Signal {
  #listeners = new Map();

  /** Call `listener` with every news of a topic. */
  on(topic, listener) {
    if (!this.#listeners.has(topic)) this.#listeners.set(topic, []);
    this.#listeners.get(topic).push(listener);
  }

  /** Tell the news. */
  tell(topic, news) {
    for (const listener of this.#listeners.get(topic) ?? []) listener(news);
  }
}
