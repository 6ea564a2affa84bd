/** OAuth 2 provider of the configuration: a table `[oauth.NAME]` after validation, with the defaults of its kind. */

/** How an application proves its identity to the token endpoint. Paths are absolute. */
export type ClientCredential =
  /** A public client (PKCE alone). */
  | { readonly kind: 'none' }
  /** client_secret_post (RFC 6749 section 2.3.1). */
  | { readonly kind: 'secret'; readonly file: string }
  /** private_key_jwt (RFC 7523 section 2.2). `certificateFile`: for the thumbprint in the header (x5t#S256). */
  | { readonly kind: 'private_key'; readonly keyFile: string; readonly certificateFile: string | null }
  /** A service account file (JSON) as Google issues it, for jwt-bearer (RFC 7523 section 2.1). */
  | { readonly kind: 'service_account'; readonly file: string };

/** A provider: where tokens are requested, and where they may go. */
export type OAuthProvider = {
  readonly name: string;
  readonly kind: 'microsoft' | 'google' | 'yahoo' | 'oidc';
  readonly flow: 'application' | 'service_account' | 'person';
  /** For discovery (OpenID Connect Discovery 1.0, RFC 8414) of endpoints that are null here; null: no discovery. */
  readonly issuer: string | null;
  readonly endpoints: {
    readonly token: string | null;
    readonly authorization: string | null;
    readonly device: string | null;
    readonly revocation: string | null;
  };
  /** Tenant of Microsoft, for hints; null otherwise. */
  readonly tenant: string | null;
  readonly clientId: string;
  readonly credential: ClientCredential;
  /** When the client secret or the certificate ends; null: unknown. */
  readonly credentialEndsAtMs: number | null;
  readonly scopes: readonly string[];
  /** Parameter `prompt` of the authorization request; null: none. */
  readonly prompt: string | null;
  /** User names that it may open, lower case; `*@example.org` for a domain. Empty: the account that consented alone. */
  readonly mailboxes: readonly string[];
  /** The mail servers that a token may go to, over TLS. */
  readonly imapHosts: readonly { readonly host: string; readonly port: number }[];
  /** The mail server ends a session when its token ends. */
  readonly sessionEndsWithToken: boolean;
  /** Authorities (PEM) for the endpoints and the mail servers, instead of the system's; null: the system's. */
  readonly caPem: string | null;
  /** HTTP proxy (CONNECT) to the endpoints, as `http://proxy.example.org:3128`; null: none. */
  readonly proxy: string | null;
};

/** What a token is bound to of a provider, by the configuration alone. */
export function providerBinding({ name, kind, issuer, endpoints, clientId, flow }: OAuthProvider): readonly string[] {
  return [name, kind, flow, issuer ?? '', endpoints.token ?? '', clientId];
}
