/**
 * Where other systems find the objects of a store: `s3://bucket/prefix/<key>` for an s3 OBJECT_STORE_URL, whatever its parameters, and null for
 * a store that only this platform can read. MLflow refuses `file:` (measured on 3.17.2).
 */
export function artifactAddress(objectStoreUrl: string): (key: string) => string | null {
  const [, place] = /^(s3:\/\/[^?#]+)/.exec(objectStoreUrl) ?? [];
  const root = place?.replace(/\/+$/, '');
  return (key) => (root === undefined ? null : `${root}/${key}`);
}
