/** Types of oidc-provider, which brings none: as much as the provider of the tests uses. */
declare module 'oidc-provider' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';

  export type ProviderContext = {
    readonly req: IncomingMessage & { body?: string };
    readonly res: ServerResponse;
    readonly method: string;
    readonly path: string;
    readonly oidc: { readonly params: Readonly<Record<string, string | undefined>>; readonly client: unknown };
    status: number;
    type: string;
    body: unknown;
    respond: boolean;
    set(headers: Readonly<Record<string, string>>): void;
    redirect(url: string): void;
  };

  export type Interaction = {
    readonly prompt: {
      readonly name: string;
      readonly details: {
        readonly missingOIDCScope?: readonly string[];
        readonly missingOIDCClaims?: readonly string[];
        readonly missingResourceScopes?: Readonly<Record<string, readonly string[]>>;
      };
    };
    readonly params: Readonly<Record<string, string | undefined>>;
    readonly session?: { readonly accountId: string };
    readonly grantId?: string;
  };

  export interface GrantRow {
    addOIDCScope(scope: string): void;
    addOIDCClaims(claims: readonly string[]): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  }

  interface AccessTokenRow {
    resourceServer: unknown;
    readonly expiration: number;
    save(): Promise<string>;
  }

  type Middleware = (context: ProviderContext, next: () => Promise<void>) => Promise<void>;

  export class Provider {
    constructor(issuer: string, settings: object);
    readonly Grant: {
      new (values: { accountId?: string; clientId?: string }): GrantRow;
      find(id: string): Promise<GrantRow>;
    };
    readonly AccessToken: new (
      values: object,
    ) => AccessTokenRow;
    readonly ResourceServer: new (
      name: string,
      values: object,
    ) => unknown;
    registerGrantType(name: string, answer: Middleware, params: readonly string[]): void;
    use(middleware: Middleware): void;
    callback(): RequestListener;
    urlFor(route: string): string;
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>;
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
      options: { mergeWithLastSubmission: boolean },
    ): Promise<void>;
  }

  export const errors: {
    readonly InvalidGrant: new (detail: string) => Error;
    readonly CustomOIDCProviderError: new (error: string, detail: string) => Error;
  };
}
