/**
 * A certificate authority of our own and three server certificates by it, made with openssl: a good one for localhost
 * and 127.0.0.1, one that is out of date, and one for another host name.
 */
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './programs.ts';

export type CertificateKind = 'good' | 'expired' | 'other_name';

export type ServerCertificate = {
  readonly caFile: string;
  readonly caPem: string;
  readonly certificateFile: string;
  readonly keyFile: string;
  /** SHA-256 of the server certificate as openssl shows it: 32 bytes in hex with colons. */
  readonly fingerprint: string;
};

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];

const authoritySettings = `[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any_name
unique_subject = no
[any_name]
commonName = supplied
`;

const long = ['-days', '30'];
const past = ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z'];

/** Makes `ca.pem` and, for each kind, a certificate and its key in `folder`. */
export async function makeCertificates(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'authority.cnf'), authoritySettings);
  await writeFile(join(folder, 'index'), '');
  const more = ['-keyout', 'ca.key', '-out', 'ca.pem', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'];
  await openssl(folder, ['req', '-x509', ...newKey, ...long, '-subj', '/CN=Test authority', ...more]);
  // One after the other: the authority's index has no lock.
  await sign(folder, 'good', 'DNS:localhost,IP:127.0.0.1', long);
  await sign(folder, 'expired', 'DNS:localhost,IP:127.0.0.1', past);
  await sign(folder, 'other_name', 'DNS:mail.example.test', long);
}

async function sign(folder: string, kind: CertificateKind, names: string, period: readonly string[]): Promise<void> {
  const extensions = `subjectAltName=${names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n`;
  await writeFile(join(folder, `${kind}.ext`), extensions);
  const subject = ['-subj', `/CN=${names.replace(/^DNS:([^,]+).*$/, '$1')}`];
  await openssl(folder, ['req', ...newKey, ...subject, '-keyout', `${kind}.key`, '-out', `${kind}.csr`]);
  const by = ['-config', 'authority.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-extfile', `${kind}.ext`];
  await openssl(folder, ['ca', '-batch', '-notext', ...by, ...period, '-in', `${kind}.csr`, '-out', `${kind}.pem`]);
}

function openssl(folder: string, args: readonly string[]): Promise<string> {
  return runProgram('openssl', args, { cwd: folder });
}

/** Reads what `makeCertificates` made. */
export async function readCertificates(folder: string, kind: CertificateKind = 'good'): Promise<ServerCertificate> {
  const certificateFile = join(folder, `${kind}.pem`);
  const caFile = join(folder, 'ca.pem');
  const certificate = new X509Certificate(await readFile(certificateFile));
  return {
    caFile,
    caPem: await readFile(caFile, 'utf8'),
    certificateFile,
    keyFile: join(folder, `${kind}.key`),
    fingerprint: certificate.fingerprint256,
  };
}
