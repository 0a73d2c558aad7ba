"use strict";
// Without this the page is what it was when it was asked for; with it, it stays up to date.
const pace = 5000;
async function renew() {
  if (document.hidden || String(getSelection()) !== "") return;
  try {
    const answer = await fetch("/", { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = document.querySelector("details")?.open;
    const aside = [...document.querySelectorAll(".scroll")].map((place) => place.scrollLeft);
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.querySelector("header").replaceWith(fresh.querySelector("header"));
    if (open) document.querySelector("details")?.setAttribute("open", "");
    document.querySelectorAll(".scroll").forEach((place, at) => { place.scrollLeft = aside[at] ?? 0; });
    document.getElementById("state").textContent = "renewed every 5 seconds";
  } catch {
    document.getElementById("state").textContent = "the daemon does not answer";
  }
}
document.getElementById("state").textContent = "renewed every 5 seconds";
setInterval(renew, pace);
