// The same work in Node: each process receives an image, decodes it once, renders four previews and writes five files, without fsync.
const cluster = require("node:cluster");
const { randomUUID } = require("node:crypto");
const { mkdirSync } = require("node:fs");
const { writeFile } = require("node:fs/promises");
const sharp = require("sharp");

const [root, port, processes, threads] = process.argv.slice(2);
const SIZES = [160, 96, 64, 32];
// As in the service: full chroma, flat quantization tables, bicubic for 160. This quality results in as many bytes.
const JPEG = { quality: 64, chromaSubsampling: "4:4:4", quantisationTable: 1, optimiseCoding: false };
const resize = (size) => [size, size, { fit: "inside", withoutEnlargement: true, kernel: size >= 160 ? "cubic" : "lanczos3" }];

// Shrink-on-load is the default of sharp. Each smaller preview is rendered from the next larger one, as in the service.
async function renderPreviews(image) {
  let { data, info } = await sharp(image).resize(...resize(SIZES[0]))
    .raw().toBuffer({ resolveWithObject: true });
  const jpegs = [sharp(data, { raw: info }).jpeg(JPEG).toBuffer()];
  for (const size of SIZES.slice(1)) {
    ({ data, info } = await sharp(data, { raw: info }).resize(...resize(size))
      .raw().toBuffer({ resolveWithObject: true }));
    jpegs.push(sharp(data, { raw: info }).jpeg(JPEG).toBuffer());
  }
  return Promise.all(jpegs);
}

async function save(request, reply) {
  const id = randomUUID();
  const path = `${root}/${id.slice(0, 2)}/${id}`;
  const previews = await renderPreviews(request.body);
  await Promise.all([
    writeFile(`${path}.jpg`, request.body),
    ...previews.map((data, index) => writeFile(`${path}_${SIZES[index]}.jpg`, data)),
  ]);
  return reply.code(201).header("Location", `/images/${id}`).send({ image_id: id });
}

if (cluster.isPrimary) {
  for (let shard = 0; shard < 256; shard += 1) mkdirSync(`${root}/${shard.toString(16).padStart(2, "0")}`, { recursive: true });
  for (let count = 0; count < Number(processes); count += 1) cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
} else {
  sharp.concurrency(Number(threads));
  sharp.cache(false);
  const app = require("fastify")({ bodyLimit: 64 * 2 ** 20 });
  app.addContentTypeParser("image/jpeg", { parseAs: "buffer" }, (request, body, done) => done(null, body));
  app.get("/", async () => "ready");
  app.post("/images", save);
  app.listen({ host: "127.0.0.1", port: Number(port) });
}
