import { describe, expect, it } from 'vitest';
import { nvidiaDevices, parseDevices } from './devices.ts';

describe('devices', () => {
  it('reads the counters of every device', () => {
    const csv = '0, NVIDIA H100 80GB HBM3, 37, 1024, 81559\n1, NVIDIA H100 80GB HBM3, [N/A], 0, 81559\n';
    expect(parseDevices(csv)).toEqual([
      { index: 0, name: 'NVIDIA H100 80GB HBM3', utilisationPercent: 37, memoryUsedMib: 1024, memoryTotalMib: 81_559 },
      { index: 1, name: 'NVIDIA H100 80GB HBM3', utilisationPercent: null, memoryUsedMib: 0, memoryTotalMib: 81_559 },
    ]);
  });
  it('takes other output for no device', () => {
    expect(parseDevices('NVIDIA-SMI has failed because it could not communicate with the driver.\n')).toEqual([]);
  });
  it('a machine without the program has no devices', async () => {
    expect(await nvidiaDevices('no-such-program-here')).toEqual([]);
  });
});
