// Makes the page work offline: stores the page at once, models and runtime when they are used.

const VERSION = "{{ version }}";
const SHELL = {{ shell }};

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(VERSION);
    await cache.addAll(SHELL.map((file) => new Request(file, { cache: "reload" })));
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("kdtool-") && name !== VERSION) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith("http")) return;
  const url = new URL(request.url);
  const ofPage = url.origin === self.location.origin && !url.search;
  event.respondWith(ofPage ? networkFirst(request) : storedFirst(request));
});

// Files of the page: the newest version that the network has.
async function networkFirst(request) {
  const cache = await caches.open(VERSION);
  try {
    return await fetchAndStore(cache, request);
  } catch (error) {
    const stored = await cache.match(request);
    if (stored) return stored;
    throw error;
  }
}

// Models and runtime: their address contains their hash or version, so the stored copy is right.
async function storedFirst(request) {
  const cache = await caches.open(VERSION);
  return await cache.match(request) ?? await fetchAndStore(cache, request);
}

async function fetchAndStore(cache, request) {
  const response = await fetch(request);
  if (response.ok && response.type !== "opaque") await cache.put(request, response.clone());
  return response;
}
