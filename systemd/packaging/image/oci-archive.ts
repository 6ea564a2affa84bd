/**
 * OCI image archive (OCI Image Format 1.1, Image Layout) that Podman and Docker load, with the same bytes each time.
 *
 * The layers are those that buildah pushed into a folder. The configuration is written here, since buildah puts a random
 * host name into one of Docker and leaves the health check out of one of OCI. Docker reads the health check in this one;
 * Podman reads none in an OCI image. `manifest.json` is for a Docker older than 25.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeTarOfContents } from '../archive.ts';

type Pushed = {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
};

type DockerConfig = {
  readonly created: string;
  readonly architecture: string;
  readonly os: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly rootfs: object;
  readonly history: readonly { readonly created_by: string; readonly empty_layer?: boolean }[];
};

/** Those that an image has; each other one is about a container. */
const keptKeys = [
  ...['User', 'ExposedPorts', 'Env', 'Entrypoint', 'Cmd', 'Volumes', 'WorkingDir', 'Labels', 'StopSignal'],
  'Healthcheck',
];

const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };

/**
 * Writes `archive` from `pushed`, a folder of the transport `dir:` with gzip layers and a configuration of Docker.
 * `name` is a reference with its host and tag; `folder` is new.
 */
export async function writeOciArchive(
  pushed: string,
  { name, archive, folder, dateS }: { name: string; archive: string; folder: string; dateS: number },
): Promise<void> {
  const blobs = join(folder, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const { config, layers }: Pushed = JSON.parse(await readFile(join(pushed, 'manifest.json'), 'utf8'));
  for (const { digest } of layers) await copyFile(join(pushed, hexOf(digest)), join(blobs, hexOf(digest)));
  const docker: DockerConfig = JSON.parse(await readFile(join(pushed, hexOf(config.digest)), 'utf8'));
  const { architecture, os } = docker;
  const image = await writeBlob(blobs, mediaTypes.config, imageConfig(docker));
  const manifest = await writeBlob(blobs, mediaTypes.manifest, {
    ...{ schemaVersion: 2, mediaType: mediaTypes.manifest, config: image },
    layers: layers.map(({ digest, size }) => ({ mediaType: mediaTypes.layer, digest, size })),
  });
  // The first for Podman, the second for containerd.
  const annotations = { 'org.opencontainers.image.ref.name': name, 'io.containerd.image.name': name };
  const entry = { ...manifest, platform: { architecture, os }, annotations };
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] };
  const paths = layers.map(({ digest }) => pathOf(digest));
  const files = {
    'index.json': index,
    'manifest.json': [{ Config: pathOf(image.digest), RepoTags: [name], Layers: paths }],
    'oci-layout': { imageLayoutVersion: '1.0.0' },
  };
  for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), JSON.stringify(content));
  await writeTarOfContents(folder, ['blobs', ...Object.keys(files)], archive, dateS);
}

function imageConfig({ created, architecture, os, config, rootfs, history }: DockerConfig): object {
  const kept = keptKeys.flatMap((key) => (config[key] === undefined ? [] : [[key, config[key]]]));
  const steps = history.map(({ created_by, empty_layer }) => ({
    ...{ created, created_by },
    ...(empty_layer === true ? { empty_layer } : {}),
  }));
  return { created, architecture, os, config: Object.fromEntries(kept), rootfs, history: steps };
}

async function writeBlob(blobs: string, mediaType: string, content: object): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(content));
  const hash = createHash('sha256').update(bytes).digest('hex');
  await writeFile(join(blobs, hash), bytes);
  return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
}

function pathOf(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function hexOf(digest: string): string {
  return digest.replace(/^sha256:/, '');
}
