// The Chat tab: shows the engine's desk as its stream tells it, and sends it the wishes of a person. It keeps no
// conversation of its own: a reload or a second window shows the same.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const language = document.documentElement.lang;
  const { part: partOf, say, show, fill, drawSides, drawTurns } = studio.chatParts;
  const lists = studio.chatLists;
  const panel = studio.chatPanel;
  const KEPT_TEXT = "so-chat-input";
  const KEYS = { 1: "left", 2: "right", 3: "tie", 4: "bad" };
  const NEAR_END = 40; // pixels

  class Chat {
    constructor(root) {
      this.frame = root.querySelector(".so-chat");
      this.picture = null;
      this.choices = { sides: [], conversations: [], results: [] };
      this.pending = this.sending = false;
      this.editing = null; // the text that editing has put away, or null
      this.deleted = null;
      this.source = null;
      this.known = "";
      this.asked = 0; // requests for the choices: only the last one's answer counts
      this.heard = new Map(); // place of an answer -> whether it was done when last seen
      this.input.value = sessionStorage.getItem(KEPT_TEXT) ?? "";
      this.ending = new AbortController();
      this.listen();
      this.follow();
    }

    part(name) {
      return partOf(this.frame, name);
    }

    get input() {
      return this.part("input");
    }

    on(target, names, act) {
      for (const name of names.split(" ")) target.addEventListener(name, act, { signal: this.ending.signal });
    }

    listen() {
      this.on(document, "so-tab visibilitychange", () => this.follow());
      this.on(window, "pageshow", () => this.follow());
      this.on(window, "pagehide", () => this.leave());
      this.on(document, "keydown", (event) => this.pressed(event));
      this.on(this.frame, "click", (event) => this.clicked(event));
      this.on(this.frame, "change", (event) => this.changed(event));
      this.on(this.part("composer"), "submit", (event) => {
        event.preventDefault();
        if (this.picture?.speaking) this.wish("stop");
        else this.send();
      });
      this.on(this.input, "input", () => this.typed());
      this.on(this.part("search"), "input", () => lists.search(this.frame));
      this.on(this.part("body"), "scroll", () => this.drawEnd());
      this.on(window, "resize", () => this.typed());
    }

    // The stream: only while somebody looks, or an answer that was asked for here is still coming.

    follow() {
      const wanted = !document.hidden && (studio.tab === "chat" || Boolean(this.picture?.speaking));
      if (!wanted) return this.leave();
      if (studio.tab === "chat") this.typed();
      if (this.source) return;
      this.source = new EventSource(`/chat/stream?language=${language}`);
      this.source.onmessage = (event) => this.take(JSON.parse(event.data));
      this.known = "";
      this.load("library", (library) => lists.drawLibrary(this.frame, library));
    }

    leave() {
      this.source?.close();
      this.source = null;
    }

    end() {
      this.leave();
      this.ending.abort();
    }

    take(message) {
      if (message.trouble) return panel.tell(this.frame, message.trouble);
      if (!this.picture) this.part("notice").replaceChildren();
      const { turn, ...rest } = message;
      const turns = turn ? [...this.picture.turns.slice(0, -1), turn] : message.turns;
      this.picture = { ...this.picture, ...rest, turns };
      this.draw();
      const { conversation, speaking, blind, revealed, vote } = this.picture;
      const known = JSON.stringify([conversation, turns.length, speaking, blind, revealed, vote]);
      if (known !== this.known) this.loadChoices();
      this.known = known;
      if (!speaking) this.follow();
    }

    loadChoices() {
      const asked = ++this.asked;
      return this.load("choices", (choices) => {
        if (asked !== this.asked) return;
        this.choices = choices;
        this.draw();
      });
    }

    async load(name, act) {
      try {
        const answer = await fetch(`/chat/${name}?language=${language}`, { cache: "no-store" });
        if (answer.ok) act(await answer.json());
      } catch {
        // the dashboard has ended: page.js says so and comes back with it
      }
    }

    /** Sends a wish; true when it was granted. What was refused is told above the input, faults at their fields. */
    async wish(name, body = {}) {
      this.pending = true;
      this.drawComposer();
      let refused = {};
      try {
        const answer = await fetch(`/chat/${name}?language=${language}`, {
          method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
        });
        refused = answer.ok ? null : await answer.json();
      } catch {
        // as in load
      }
      this.pending = false;
      this.drawComposer();
      if (name === "tune") lists.drawFaults(this.frame, refused?.faults ?? []);
      if (refused === null) this.part("notice").replaceChildren();
      else if (refused.what && !(name === "tune" && refused.faults)) panel.tell(this.frame, refused);
      return refused === null;
    }

    // What a person does

    async send() {
      const text = this.input.value;
      if (!text.trim()) return this.input.focus();
      if (this.sending) return; // a second press is no second question
      this.sending = true;
      while (this.pending) await new Promise((done) => setTimeout(done, 20)); // a switch just pressed comes first
      const free = this.picture && !this.picture.refusal && !this.picture.speaking;
      if (free) this.toEnd();
      const sent = free && (await this.wish(this.editing === null ? "ask" : "edit", { prompt: text }));
      this.sending = false;
      if (!sent) return;
      this.editing = null;
      this.write("");
    }

    write(text) {
      this.input.value = text;
      this.typed();
      this.drawComposer();
    }

    typed() {
      sessionStorage.setItem(KEPT_TEXT, this.input.value);
      this.input.style.height = "auto";
      if (this.input.scrollHeight) this.input.style.height = `${this.input.scrollHeight}px`;
    }

    edit() {
      this.editing = this.input.value;
      this.write(this.picture.turns[this.picture.turns.length - 1].prompt);
      this.input.focus();
    }

    editNoMore() {
      if (this.editing === null) return;
      const before = this.editing;
      this.editing = null;
      this.write(before);
    }

    async remove(button) {
      const { what, title } = button.dataset;
      if (!(await this.wish("delete", { id: what }))) return;
      this.deleted = what;
      say(this.part("undo").querySelector("span"), fill(words["chat.history.deleted"], { title }));
      show(this.part("undo"), true);
      this.loadChoices();
    }

    async undo() {
      if (!(await this.wish("restore", { id: this.deleted }))) return;
      show(this.part("undo"), false);
      this.loadChoices();
    }

    search() {
      this.part("library").showModal();
      this.part("search").select();
    }

    use(text) {
      this.part("library").close();
      this.write(text);
      this.input.focus();
    }

    vote(choice) {
      if (this.votable && !this.pending) this.wish("vote", { choice }).then(() => this.input.focus());
    }

    clicked(event) {
      const button = event.target.closest("[data-chat], [data-vote]");
      if (!button || button.disabled || button.tagName === "INPUT") return;
      if (button.dataset.vote) return this.vote(button.dataset.vote);
      switch (button.dataset.chat) {
        case "new": return this.wish("new").then(() => this.input.focus());
        case "open": return this.wish("open", { id: button.dataset.what });
        case "delete": return this.remove(button);
        case "undo": return this.undo();
        case "edit": return this.edit();
        case "edit-cancel": return this.editNoMore();
        case "regenerate": return this.wish("regenerate");
        case "library": return this.search();
        case "take": return this.use(button.dataset.what);
        case "end": return this.toEnd();
      }
    }

    async changed(event) {
      const { choose, chat, tune } = event.target.dataset;
      if (choose) {
        const [left, right] = [...this.frame.querySelectorAll("[data-choose]")].map((select) => select.value);
        if (!(await this.wish("choose", { left, right }))) event.target.value = this.picture.sides[choose === "left" ? 0 : 1].key;
      }
      if (chat === "blind" && !(await this.wish("blind", { on: event.target.checked }))) this.draw();
      if (tune) this.wish("tune", lists.tuning(this.frame));
    }

    pressed(event) {
      if (studio.tab !== "chat" || !this.picture || event.isComposing || event.keyCode === 229) return; // kana conversion
      if (document.querySelector("dialog[open]")) return;
      const typing = event.target.closest?.("input, textarea, select, [contenteditable='true']");
      const modified = event.ctrlKey || event.metaKey || event.altKey;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === this.input) this.send();
      else if (event.key === "Escape" && this.picture.speaking) this.wish("stop");
      else if (event.key === "Escape" && this.editing !== null) this.editNoMore();
      else if (event.key === "/" && !typing && !modified) this.search();
      else if (KEYS[event.key] && !typing && !modified && this.votable) this.vote(KEYS[event.key]);
      else return;
      event.preventDefault();
    }

    // Drawing

    get votable() {
      return panel.votable(this.picture);
    }

    get atEnd() {
      const body = this.part("body");
      return body.scrollHeight - body.scrollTop - body.clientHeight < NEAR_END;
    }

    toEnd() {
      const body = this.part("body");
      body.scrollTop = body.scrollHeight;
    }

    draw() {
      const { frame, picture, choices } = this;
      if (!picture) return;
      const follow = this.atEnd || this.known === "";
      panel.drawEmpty(frame, picture);
      drawSides(frame, picture, choices);
      drawTurns(frame, picture);
      if (!picture.turns.length) this.part("body").scrollTop = 0;
      else if (follow) this.toEnd();
      this.drawEnd();
      panel.drawVote(frame, picture);
      panel.drawTools(frame, picture);
      this.drawComposer();
      panel.speak(frame, picture, this.heard);
      lists.drawHistory(frame, picture, choices);
      lists.drawResults(frame, picture, choices);
      lists.drawTuning(frame, picture);
    }

    drawEnd() {
      this.frame.querySelector(".so-chat-end").classList.toggle("so-away", !this.atEnd);
    }

    drawComposer() {
      if (!this.picture) return;
      if (this.editing !== null && !this.picture.turns.length) this.editNoMore(); // another conversation was opened
      panel.drawComposer(this.frame, this.picture, { editing: this.editing !== null, pending: this.pending });
    }
  }

  studio.chat = (root) => {
    studio.shownChat?.end(); // Gradio may build its tabs anew
    studio.shownChat = new Chat(root);
  };
})();
