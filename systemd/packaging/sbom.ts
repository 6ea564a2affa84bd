/**
 * Software bill of materials (`sbom.cdx.json`, CycloneDX 1.6): the packages in the bundle, and Node.js with its parts.
 *
 * Made from the bundle and package-lock.json, since `npm sbom --omit dev` leaves out a package that a development
 * dependency uses as well. The same program gives the same bytes: the serial number is derived from the components.
 */
import { createHash } from 'node:crypto';
import { readLock } from './checkout.ts';
import type { BundledPackage } from './licences.ts';
import { architectures, pinnedNode } from './node-package.ts';

export async function billOfMaterials(
  packages: readonly BundledPackage[],
  { version, dateS }: { readonly version: string; readonly dateS: number },
): Promise<string> {
  const lock = await readLock();
  const nodes = await Promise.all(architectures.map(pinnedNode));
  const libraries = packages.map((one) => library(one, lock[one.path]?.integrity));
  const components = [
    ...libraries,
    ...nodes.map((node) => ({
      ...library({ ...node, license: 'MIT' }, node.integrity),
      components: nodeParts(node.version),
    })),
  ];
  const main = {
    'bom-ref': `ticketmaild@${version}`,
    type: 'application',
    name: 'ticketmaild',
    version,
    purl: `pkg:npm/ticketmaild@${version}`,
    licenses: [{ license: { id: 'MIT' } }],
  };
  const metadata = {
    timestamp: new Date(dateS * 1000).toISOString(),
    lifecycles: [{ phase: 'build' }],
    component: main,
  };
  const dependencies = [
    { ref: main['bom-ref'], dependsOn: components.map((one) => one['bom-ref']) },
    ...components.map((one) => ({ ref: one['bom-ref'] })),
  ];
  const content = { metadata, components, dependencies };
  return `${JSON.stringify(
    {
      $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      serialNumber: serialNumber(content),
      version: 1,
      ...content,
    },
    null,
    2,
  )}\n`;
}

function library({ name, version, license }: Omit<BundledPackage, 'path'>, integrity: string | undefined) {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const isChoice = license.includes(' ');
  return {
    'bom-ref': purl,
    type: 'library',
    name,
    version,
    purl,
    licenses: [isChoice ? { expression: license } : { license: { id: license } }],
    ...(integrity === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: hexOf(integrity) }] }),
  };
}

/** Libraries in Node, such as OpenSSL. Those of the running Node, when it is the one that is shipped. */
function nodeParts(version: string) {
  if (process.versions.node !== version) return [];
  // ABI numbers and empty versions are no libraries.
  const isLibrary = ([name, of = '']: [string, string | undefined]) =>
    !['node', 'modules', 'napi'].includes(name) && of !== '';
  return Object.entries(process.versions)
    .filter(isLibrary)
    .map(([name, of]) => ({ type: 'library', name, version: of }));
}

function hexOf(integrity: string): string {
  return Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex');
}

/** A name-based UUID (RFC 9562 section 5.8, with SHA-256). */
function serialNumber(content: unknown): string {
  const bytes = createHash('sha256').update(JSON.stringify(content)).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `urn:uuid:${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')}`;
}
