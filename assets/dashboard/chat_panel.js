// Around the conversation: what stands there before the first prompt, the votes, the tools, the input, the unseen log.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const { part, say, show, isHidden, columnName, nameOf, spoken, letters, troubleCard } = studio.chatParts;
  const LOG_LINES = 10;

  function drawEmpty(frame, picture) {
    show(part(frame, "first"), false);
    show(part(frame, "empty"), !picture.turns.length);
    show(part(frame, "open-text"), !picture.blind);
    show(part(frame, "blind-text"), picture.blind);
  }

  function drawTools(frame, { blind, conversation, speaking, turns }) {
    frame.querySelector('[data-chat="blind"]').checked = blind;
    show(part(frame, "exports"), turns.length > 0);
    for (const link of frame.querySelectorAll("[data-export]")) {
      const name = `${encodeURIComponent(conversation)}.${link.dataset.export}`;
      link.href = `/chat/export/${name}?language=${document.documentElement.lang}`;
    }
    document.getElementById("tab-chat-button")?.classList.toggle("so-tab-runs", speaking);
  }

  /** What was refused, above the input; faults of the settings come with the way to mend them. */
  function tell(frame, trouble) {
    const notice = part(frame, "notice");
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = words["chat.dismiss"];
    close.addEventListener("click", () => notice.replaceChildren());
    const settings = document.createElement("a");
    settings.href = "?tab=config";
    settings.dataset.openTab = "config"; // page.js opens it
    settings.textContent = words["chat.do.settings"];
    const buttons = trouble.faults ? [settings, close] : [close];
    for (const button of buttons) button.className = "so-button so-small";
    notice.replaceChildren(troubleCard(trouble, ...buttons));
  }

  // Votes

  function failed({ turns }) {
    return turns.length > 0 && turns[turns.length - 1].answers.some((answer) => answer.ended === "failed");
  }

  function votable(picture) {
    return isHidden(picture) && !picture.speaking && picture.turns.length > 0 && !failed(picture);
  }

  function voteNote(picture) {
    if (picture.vote) {
      const names = picture.sides.map((side, i) => `${letters[i]}: ${nameOf(side)}`);
      return [...names, `${words["chat.vote.given"]}: ${words[`chat.vote.${picture.vote}`]}`].join(" · ");
    }
    if (votable(picture)) return words["chat.vote.title"];
    return words[!picture.speaking && failed(picture) ? "chat.vote.failed" : "chat.vote.wait"];
  }

  function drawVote(frame, picture) {
    const group = part(frame, "vote");
    const buttons = [...group.querySelectorAll("[data-vote]")];
    const opens = votable(picture) && buttons[0].disabled;
    show(group, picture.blind);
    show(part(frame, "votes"), !picture.revealed);
    show(part(frame, "voted"), picture.revealed);
    for (const button of buttons) button.disabled = !votable(picture);
    say(part(frame, "vote-note"), voteNote(picture));
    const input = part(frame, "input");
    const idle = document.activeElement === document.body || (document.activeElement === input && !input.value);
    if (opens && idle) group.focus({ preventScroll: true }); // so that the keys 1 to 4 vote at once
  }

  // Input

  function drawComposer(frame, { speaking, refusal }, { editing, pending }) {
    show(part(frame, "editing"), editing);
    const send = part(frame, "send");
    say(send, words[speaking ? "chat.do.stop" : editing ? "chat.do.replace" : "chat.do.send"]);
    send.classList.toggle("so-danger", speaking);
    send.disabled = !speaking && (Boolean(refusal) || pending);
    const refused = Boolean(refusal) && !speaking;
    const note = part(frame, "note");
    say(note, refused ? `${refusal.what} ${refusal.hint}` : words[speaking ? "chat.input.stop_help" : "chat.input.help"]);
    note.classList.toggle("so-refusal", refused);
    for (const button of frame.querySelectorAll('[data-chat="regenerate"], [data-chat="edit"]')) button.disabled = refused;
  }

  /** A line in the unseen log for each answer that came to its end while this page looked on. */
  function speak(frame, picture, heard) {
    const log = part(frame, "log");
    picture.turns.forEach((turn, i) => turn.answers.forEach((answer, side) => {
      const place = `${picture.conversation}/${i}/${side}`;
      const done = answer.state === "done";
      if (done && heard.get(place) === false) {
        const line = document.createElement("p");
        line.textContent = spoken(answer, columnName(picture, side));
        log.append(line);
        if (log.children.length > LOG_LINES) log.firstElementChild.remove();
      }
      heard.set(place, done);
    }));
  }

  studio.chatPanel = { tell, drawEmpty, drawTools, votable, drawVote, drawComposer, speak };
})();
