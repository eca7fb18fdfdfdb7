/** What a client means by a model: a name, `name/3`, or `name@alias`. */
export type ModelReference =
  | { readonly kind: 'routed'; readonly model: string }
  | { readonly kind: 'version'; readonly model: string; readonly version: number }
  | { readonly kind: 'alias'; readonly model: string; readonly alias: string };

const REFERENCE = /^([^/@\s]{1,128})(?:\/([1-9]\d{0,8})|@([a-z]{1,32}))?$/;

/** Null for a text that is no reference. `name@prod` is what is served, canary included. */
export function parseModelReference(text: string): ModelReference | null {
  const [, model, version, alias] = REFERENCE.exec(text) ?? [];
  if (model === undefined) return null;
  if (version !== undefined) return { kind: 'version', model, version: Number(version) };
  return alias === undefined || alias === 'prod' ? { kind: 'routed', model } : { kind: 'alias', model, alias };
}
