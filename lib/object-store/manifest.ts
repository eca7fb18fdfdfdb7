/** Folders in the object store: the manifest, and moving a folder there and back. */
export { downloadFolder } from './folder-download.ts';
export { uploadFolder, type UploadedFolder } from './folder-upload.ts';
export { Manifest, MANIFEST_NAME, readManifest } from './manifest-format.ts';
export type { TransferProgress } from './transfer-progress.ts';
