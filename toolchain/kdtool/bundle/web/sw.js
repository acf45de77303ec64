// Works offline once loaded: the page itself is stored at once, models and runtime as they are used.

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
  const own = new URL(request.url);
  const small = own.origin === self.location.origin && !own.search;
  event.respondWith(small ? networkFirst(request) : storedFirst(request));
});

// The page: as new as the network has it.
async function networkFirst(request) {
  const cache = await caches.open(VERSION);
  try {
    return await kept(cache, request);
  } catch (error) {
    const stored = await cache.match(request);
    if (stored) return stored;
    throw error;
  }
}

// Models and runtime: their address holds their hash or version, so what is stored is right.
async function storedFirst(request) {
  const cache = await caches.open(VERSION);
  return await cache.match(request) ?? await kept(cache, request);
}

async function kept(cache, request) {
  const answer = await fetch(request);
  if (answer.ok && answer.type !== "opaque") await cache.put(request, answer.clone());
  return answer;
}
