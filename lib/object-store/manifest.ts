/** Folders in the object store: the manifest, and moving a folder there and back. */
export { DEFAULT_MARGIN_BYTES, downloadFolder, type DownloadFolderOptions } from './folder-download.ts';
export { uploadFolder, type UploadedFolder, type UploadFolderOptions } from './folder-upload.ts';
export {
  Manifest,
  MANIFEST_NAME,
  type ManifestAuthor,
  manifestDigest,
  type ManifestFile,
  readManifest,
} from './manifest-format.ts';
export type { TransferProgress } from './transfer-progress.ts';
