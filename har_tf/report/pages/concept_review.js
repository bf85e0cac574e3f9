"use strict";
const key = document.body.dataset.key;
const cards = [...document.querySelectorAll("article")];
const filter = document.getElementById("filter");
const changed = new Set();

function state(card) {
  const verdict = card.dataset.state === "undecided" ? null : card.dataset.state;
  return {verdict, reason: verdict === "rejected" ? card.querySelector("input").value.trim() || null : null};
}
function show(card, verdict) {
  card.dataset.state = verdict || "undecided";
  card.className = verdict || "";
}
function count() {
  const of = name => cards.filter(card => card.dataset.state === name).length;
  document.getElementById("counts").textContent =
    `${of("accepted")} accepted, ${of("rejected")} rejected, ${of("undecided")} undecided of ${cards.length}`;
}
function sift() {
  for (const card of cards) card.hidden = filter.value !== "all" && card.dataset.state !== filter.value;
}
function keep(card) {
  changed.add(card);
  count();
  try { localStorage.setItem(key, JSON.stringify(verdicts())); } catch (error) { /* a browser that keeps nothing */ }
}
function decide(card, verdict) {
  show(card, verdict);
  keep(card);
}
function verdicts() {
  return Object.fromEntries(cards.filter(card => card.dataset.state !== "undecided" || changed.has(card))
    .map(card => [card.dataset.file, state(card)]));
}
function move(card, step) {
  const visible = cards.filter(other => !other.hidden);
  const next = visible[visible.indexOf(card) + step];
  if (next) { next.focus(); next.scrollIntoView({block: "nearest"}); }
}
for (const card of cards) {
  const video = card.querySelector("video");
  card.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) decide(card, button.dataset.verdict === card.dataset.state ? null : button.dataset.verdict);
    else if (event.target === video) video.paused ? video.play() : video.pause();
  });
  card.querySelector("input").addEventListener("change", () => keep(card));
}
document.addEventListener("keydown", event => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const card = document.activeElement.closest("article");
  const press = event.key.toLowerCase(), verdict = {a: "accepted", r: "rejected", u: null}[press];
  if (!card) {
    if (["a", "r", "u", "arrowleft", "arrowright"].includes(press)) cards.find(other => !other.hidden)?.focus();
  } else if (verdict !== undefined) {
    decide(card, verdict);
    if (verdict) move(card, 1);
  } else if (press === "arrowright" || press === "arrowleft") {
    event.preventDefault();
    move(card, press === "arrowright" ? 1 : -1);
  } else if (press === " " && !event.target.matches("button")) {
    event.preventDefault();
    const video = card.querySelector("video");
    video.paused ? video.play() : video.pause();
  }
});
filter.addEventListener("change", sift);
// Hundreds of videos at once are too many: those in view play.
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) entry.isIntersecting ? entry.target.play().catch(() => {}) : entry.target.pause();
});
for (const card of cards) seen.observe(card.querySelector("video"));
try {
  const kept = JSON.parse(localStorage.getItem(key) || "{}");
  for (const card of cards) {
    const given = kept[card.dataset.file];
    if (!given) continue;
    card.querySelector("input").value = given.reason || "";
    show(card, given.verdict);
    changed.add(card);
  }
} catch (error) { /* what was kept is of another page */ }
document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(verdicts(), null, 1)], {type: "application/json"}));
  link.download = "verdicts.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
count();
