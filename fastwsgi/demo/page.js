/* The demo's moving parts: the clock, the stream, the JSON request and the upload.  The page works without them,
 * but for the first two.  Whatever the server tells goes into the page as text, never as markup. */
"use strict";

const root = document.body.dataset.root;
const at = (id) => document.getElementById(id);
const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

/* The clock: asked for every second over the same kept connection; the stream shows its own time meanwhile. */
let streaming = false;

function showTime(clock) {
  at("time").textContent = clock.time;
  at("date").textContent = `${clock.date}, ${clock.zone}`;
}

async function askTime() {
  const clock = document.querySelector(".clock");
  if (!streaming && !document.hidden) {
    const begun = performance.now();
    try {
      const response = await fetch(`${root}/time`);
      showTime(await response.json());
      at("trip").textContent = `answered in ${milliseconds(performance.now() - begun)}`;
      clock.classList.remove("lost");
    } catch {
      at("trip").textContent = "no answer; is the server still running?";
      clock.classList.add("lost");
    }
  }
  setTimeout(askTime, 1000 - (Date.now() % 1000) + 5);
}

/* The stream: one cell for each line of JSON, lit when the line arrives. */
async function* lines(response) {
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const complete = rest.split("\n");
    rest = complete.pop();
    yield* complete;
  }
}

async function stream(count) {
  if (streaming) return;
  const cells = at("lane").children;
  const status = at("stream-status");
  const output = at("stream-output");
  const button = at("stream-start");
  for (const cell of cells) cell.className = "";
  button.disabled = streaming = true;
  output.textContent = "";
  const begun = performance.now();
  try {
    const response = await fetch(`${root}/clock?blocks=${count}`);
    for await (const line of lines(response)) {
      const block = JSON.parse(line);
      const after = performance.now() - begun;
      cells[block.block - 1].className = "lit";
      cells[block.block - 1].title = `block ${block.block} after ${milliseconds(after)}`;
      status.textContent = `block ${block.block} of ${block.of} after ${milliseconds(after)}`;
      output.append(`${line}\n`);
      output.scrollTop = output.scrollHeight;
      showTime(block);
    }
  } catch {
    status.textContent = "the stream broke off";
  }
  button.disabled = streaming = false;
  button.textContent = "Start it again";
}

/* The JSON request. */
async function showJson(options) {
  const output = at("json-output");
  try {
    const response = await fetch(`${root}/json`, options);
    output.textContent = await response.text();
  } catch {
    output.textContent = "no answer";
  }
}

/* The upload: sent by script to show its progress; a plain form post does the same without it. */
function element(name, text, ...children) {
  const node = document.createElement(name);
  node.textContent = text;
  node.append(...children);
  return node;
}

function received(part) {
  const file = part.filename !== null;
  const size = `${part.size.toLocaleString("en")} bytes`;
  const article = element("article", "",
    element("h3", (file ? part.filename : part.name) || "no file chosen"),
    element("p", "", element("span", file ? part.type : "field"), element("span", size)),
    element("code", part.preview || "(empty)"),
    element("small", `SHA-256 ${part.sha256}`));
  article.className = "part";
  return article;
}

function upload(event) {
  event.preventDefault();
  const form = at("form");
  const status = at("upload-status");
  const button = form.querySelector("button");
  const call = new XMLHttpRequest();
  const begun = performance.now();
  call.open("POST", `${root}/upload`);
  call.setRequestHeader("Accept", "application/json");
  call.responseType = "json";
  call.upload.onprogress = (progress) => {
    status.textContent = `${Math.round((100 * progress.loaded) / progress.total)} % sent`;
  };
  call.onload = () => {
    const answer = call.response ?? {};
    if (call.status === 200) {
      at("received").replaceChildren(...answer.parts.map(received));
      status.textContent = `answered in ${milliseconds(performance.now() - begun)}`;
    } else {
      status.textContent = answer.error ?? `answered ${call.status}`;
    }
  };
  call.onerror = () => { status.textContent = "no answer"; };
  call.onloadend = () => { button.disabled = false; };
  button.disabled = true;
  status.textContent = "sending";
  call.send(new FormData(form));
}

function showChosen() {
  const files = [...at("files").files];
  const bytes = files.reduce((sum, file) => sum + file.size, 0).toLocaleString("en");
  const names = files.map((file) => file.name).join(", ");
  at("chosen").textContent = files.length ? `${names} (${bytes} bytes)` : "up to 64 MiB together";
}

const drop = at("drop");
for (const type of ["dragenter", "dragover"]) {
  drop.addEventListener(type, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const type of ["dragleave", "drop"]) {
  drop.addEventListener(type, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
drop.addEventListener("drop", (event) => { at("files").files = event.dataTransfer.files; showChosen(); });
at("files").addEventListener("change", showChosen);
at("form").addEventListener("submit", upload);
at("json-send").addEventListener("click", () => showJson({ method: "POST", body: "hello=world" }));
at("stream-start").addEventListener("click", () => stream(20));
for (const node of document.querySelectorAll("[data-origin]")) node.textContent = location.origin;

showJson().then(() => stream(10)).then(askTime);
